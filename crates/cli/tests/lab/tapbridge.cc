// A simulated network of ns-3 behind a persistent TAP: `tapbridge MODE TAP ADDRESS SECONDS`. A node with this
// address answers pings in real time, on the CSMA channel to which TapBridge joins the TAP.
//
// TapBridge runs a program of its own, tap-creator, to open the TAP, which Debian does not package. Its part is
// done here: execlp() of this program is found before that of the C library.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <ns3/core-module.h>
#include <ns3/csma-module.h>
#include <ns3/internet-module.h>
#include <ns3/network-module.h>
#include <ns3/tap-bridge-module.h>
#include <ns3/tap-encode-decode.h>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace ns3;

// What TapBridge expects with the descriptor.
const uint32_t MAGIC = 95549;

// Opens the TAP (-d) as it is, and passes its descriptor to the socket of TapBridge (-p).
extern "C" int execlp(const char *, const char *argument, ...)
{
    std::string name, path;
    va_list arguments;
    va_start(arguments, argument);
    while (const char *word = va_arg(arguments, const char *))
    {
        if (!std::strncmp(word, "-d", 2))
            name = word + 2;
        if (!std::strncmp(word, "-p", 2))
            path = word + 2;
    }
    va_end(arguments);
    int tap = open("/dev/net/tun", O_RDWR);
    ifreq request = {};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
    sockaddr_un address = {};
    uint32_t length = 0;
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) || !TapStringToBuffer(path, (uint8_t *)&address, &length))
        _exit(1);
    uint32_t magic = MAGIC;
    iovec data = {&magic, sizeof magic};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof tap)] = {};
    msghdr message = {};
    message.msg_name = &address;
    message.msg_namelen = length;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof tap);
    std::memcpy(CMSG_DATA(rights), &tap, sizeof tap);
    int out = socket(AF_UNIX, SOCK_DGRAM, 0);
    _exit(sendmsg(out, &message, 0) < 0);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    GlobalValue::Bind("SimulatorImplementationType", StringValue("ns3::RealtimeSimulatorImpl"));
    GlobalValue::Bind("ChecksumEnabled", BooleanValue(true));
    NodeContainer nodes(2);
    NetDeviceContainer devices = CsmaHelper().Install(nodes);
    InternetStackHelper().Install(nodes.Get(1));
    auto ip = nodes.Get(1)->GetObject<Ipv4>();
    auto interface = ip->AddInterface(devices.Get(1));
    ip->AddAddress(interface, Ipv4InterfaceAddress(Ipv4Address(argv[3]), Ipv4Mask("255.255.255.0")));
    ip->SetUp(interface);
    TapBridgeHelper bridge;
    bridge.SetAttribute("Mode", StringValue(argv[1]));
    bridge.SetAttribute("DeviceName", StringValue(argv[2]));
    bridge.Install(nodes.Get(0), devices.Get(0));
    Simulator::Stop(Seconds(std::atof(argv[4])));
    Simulator::Run();
    Simulator::Destroy();
}
