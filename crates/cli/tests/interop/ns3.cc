// A simulated ns-3 node on a real TAP: `ns3 NAME ADDRESS SECONDS` attaches to the TAP of that name, and its
// stack answers pings in real time. (Debian's package has no tap-creator, so that TapBridge itself cannot open
// a TAP; what it would do with one is what FdNetDevice does here.)
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <ns3/core-module.h>
#include <ns3/fd-net-device-module.h>
#include <ns3/internet-module.h>
#include <ns3/network-module.h>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sys/ioctl.h>

using namespace ns3;

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    GlobalValue::Bind("SimulatorImplementationType", StringValue("ns3::RealtimeSimulatorImpl"));
    GlobalValue::Bind("ChecksumEnabled", BooleanValue(true));
    int fd = open("/dev/net/tun", O_RDWR);
    ifreq request = {};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
    {
        std::perror(argv[1]);
        return 1;
    }
    NodeContainer nodes(1);
    auto device = CreateObject<FdNetDevice>();
    device->SetAddress(Mac48Address("02:00:00:00:00:77"));
    device->SetFileDescriptor(fd);
    nodes.Get(0)->AddDevice(device);
    InternetStackHelper().Install(nodes);
    auto ip = nodes.Get(0)->GetObject<Ipv4>();
    auto interface = ip->AddInterface(device);
    ip->AddAddress(interface, Ipv4InterfaceAddress(Ipv4Address(argv[2]), Ipv4Mask("255.255.255.0")));
    ip->SetUp(interface);
    std::cout << "ready" << std::endl;
    Simulator::Stop(Seconds(std::atof(argv[3])));
    Simulator::Run();
    Simulator::Destroy();
}
