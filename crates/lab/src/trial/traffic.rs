//! Traffic between two nodes: a thread for each end of each stream.

use adit_device::Netns;
use adit_topology::scenario::world::Moved;
use adit_topology::scenario::{Amount, Protocol, Traffic};
use rustix::net::sockopt;
use std::io::{self, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a thread looks whether it must stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long UDP's last datagrams may take.
const LAST_DATAGRAMS: Duration = Duration::from_secs(1);
/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How often bytes are added to a TCP connection with a rate.
const TICK: Duration = Duration::from_millis(10);

/// Traffic that has started.
#[derive(Debug)]
pub(super) struct Running {
    start: Instant,
    streams: Vec<Stream>,
    shared: Arc<Shared>,
    result: Option<Moved>,
}

#[derive(Debug)]
struct Stream {
    receiver: JoinHandle<io::Result<bool>>,
    sender: JoinHandle<io::Result<()>>,
    /// Bytes that the receiver read, and when it read the last ones, in nanoseconds after the start.
    counts: Arc<[AtomicU64; 2]>,
}

#[derive(Debug, Default)]
struct Shared {
    must_stop: AtomicBool,
    has_sent: AtomicBool,
}

impl Shared {
    fn must_stop(&self) -> bool {
        self.must_stop.load(Ordering::Relaxed)
    }
}

/// What one stream sends.
#[derive(Clone, Copy, Debug)]
struct Load {
    bytes: u64,
    until: Option<Instant>,
    /// Bits of payload a second.
    rate: Option<u64>,
}

impl Running {
    pub(super) fn start(
        traffic: &Traffic,
        [from, to]: [&Netns; 2],
        address: IpAddr,
        ports: Range<u16>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let streams = u64::from(traffic.streams.max(1));
        let start = Instant::now();
        let load = Load {
            bytes: match traffic.amount {
                Amount::Bytes(bytes) => bytes.div_ceil(streams),
                Amount::For(_) => u64::MAX,
            },
            until: match traffic.amount {
                Amount::Bytes(_) => None,
                Amount::For(time) => Some(start + time),
            },
            rate: traffic.rate.map(|rate| (rate.bits_per_second() / streams).max(8)),
        };
        let one = |port: u16| {
            let at = SocketAddr::new(address, port);
            let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let (for_receiver, stop, stop_too) =
                (Arc::clone(&counts), Arc::clone(&shared), Arc::clone(&shared));
            // A socket stays in the namespace in which it was opened.
            let (receiver, sender) = match traffic.protocol {
                Protocol::Tcp => {
                    let listener = to.run(|| TcpListener::bind(at))??;
                    let congestion = traffic.congestion.clone();
                    let from = from.try_clone()?;
                    (
                        thread::spawn(move || receive_tcp(&listener, start, &for_receiver, &stop)),
                        thread::spawn(move || {
                            from.enter()?;
                            send_tcp(at, load, congestion.as_deref(), &stop_too)
                        }),
                    )
                }
                Protocol::Udp => {
                    let any: IpAddr = match address {
                        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                    };
                    let receiver = to.run(|| UdpSocket::bind(at))??;
                    let sender = from.run(|| UdpSocket::bind((any, 0)))??;
                    (
                        thread::spawn(move || receive_udp(&receiver, start, &for_receiver, &stop)),
                        thread::spawn(move || send_udp(&sender, at, load, &stop_too)),
                    )
                }
            };
            Ok(Stream { receiver, sender, counts })
        };
        let streams: io::Result<Vec<Stream>> = ports.map(one).collect();
        Ok(Self { start, streams: streams?, shared, result: None })
    }

    /// Waits until all is received, or until a moment; returns what was.
    pub(super) fn end(&mut self, until: Instant) -> io::Result<Moved> {
        if let Some(result) = self.result {
            return Ok(result);
        }
        let are_done = |streams: &[Stream]| streams.iter().all(|of| of.receiver.is_finished());
        while !are_done(&self.streams) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1).min(until - Instant::now().min(until)));
        }
        self.shared.must_stop.store(true, Ordering::Relaxed);
        let stopped = Instant::now();
        let (mut bytes, mut last, mut is_complete) = (0, 0, true);
        let mut failure = None;
        for stream in self.streams.drain(..) {
            bytes += stream.counts[0].load(Ordering::Relaxed);
            last = last.max(stream.counts[1].load(Ordering::Relaxed));
            match stream.receiver.join() {
                Ok(Ok(all)) => is_complete &= all,
                // A receiver that was stopped, or whose connection was: not all arrived.
                Ok(Err(_)) | Err(_) => is_complete = false,
            }
            if let Ok(Err(error)) = stream.sender.join()
                && !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                )
            {
                failure = Some(error);
            }
        }
        if let (Some(error), 0) = (failure, bytes)
            && !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable)
        {
            return Err(error);
        }
        let time = if is_complete { Duration::from_nanos(last) } else { stopped - self.start };
        let moved = Moved { bytes, time, is_complete };
        self.result = Some(moved);
        Ok(moved)
    }
}

fn note(counts: &[AtomicU64; 2], bytes: usize, start: Instant) {
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counts[1].store(nanos, Ordering::Relaxed);
    counts[0].fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
}

fn receive_tcp(
    listener: &TcpListener,
    start: Instant,
    counts: &[AtomicU64; 2],
    shared: &Shared,
) -> io::Result<bool> {
    listener.set_nonblocking(true)?;
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if shared.must_stop() {
                    return Ok(false);
                }
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut buffer = vec![0; 256 << 10];
    while !shared.must_stop() {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(bytes) => note(counts, bytes, start),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn send_tcp(
    at: SocketAddr,
    load: Load,
    congestion: Option<&str>,
    shared: &Shared,
) -> io::Result<()> {
    let mut stream = connect(at, shared)?;
    if let Some(name) = congestion {
        sockopt::set_tcp_congestion(&stream, name)?;
    }
    stream.set_write_timeout(Some(LOOK))?;
    sockopt::set_tcp_nodelay(&stream, true)?;
    let zeros = vec![0; 64 << 10];
    let (mut left, mut next) = (load.bytes, Instant::now());
    while left > 0 && !shared.must_stop() && load.until.is_none_or(|until| Instant::now() < until) {
        let most = match load.rate {
            None => left,
            Some(rate) => {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                next += TICK;
                left.min((rate / 8 / 100).max(1))
            }
        };
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(zeros.len());
        match stream.write(&zeros[..count]) {
            Ok(sent) => left = left.saturating_sub(u64::try_from(sent).unwrap_or_default()),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // The connection is reset if it is closed while bytes of it are under way.
    let mut end = [0; 1];
    stream.set_read_timeout(Some(LOOK))?;
    while !shared.must_stop() {
        match stream.read(&mut end) {
            Err(error) if is_timeout(&error) => {}
            _ => break,
        }
    }
    Ok(())
}

/// Connects, for as long as the traffic may last: what fails may heal.
fn connect(at: SocketAddr, shared: &Shared) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect_timeout(&at, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) if shared.must_stop() => return Err(error),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn receive_udp(
    socket: &UdpSocket,
    start: Instant,
    counts: &[AtomicU64; 2],
    shared: &Shared,
) -> io::Result<bool> {
    socket.set_read_timeout(Some(LOOK))?;
    let mut buffer = [0; 65_535];
    let mut end: Option<Instant> = None;
    loop {
        match socket.recv(&mut buffer) {
            Ok(bytes) => note(counts, bytes, start),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
        if shared.has_sent.load(Ordering::Relaxed) {
            let end = *end.get_or_insert_with(|| Instant::now() + LAST_DATAGRAMS);
            if Instant::now() >= end {
                return Ok(true);
            }
        }
        if shared.must_stop() {
            return Ok(shared.has_sent.load(Ordering::Relaxed));
        }
    }
}

fn send_udp(socket: &UdpSocket, at: SocketAddr, load: Load, shared: &Shared) -> io::Result<()> {
    const ZEROS: [u8; Traffic::DATAGRAM] = [0; Traffic::DATAGRAM];
    let bits = u64::try_from(ZEROS.len()).unwrap_or_default() * 8;
    let pace = Duration::from_nanos(bits * 1_000_000_000 / load.rate.unwrap_or(1).max(1));
    let (mut left, mut next) = (load.bytes, Instant::now());
    while left > 0 && !shared.must_stop() && load.until.is_none_or(|until| Instant::now() < until) {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        // What the kernel cannot send now is lost, as on the way.
        let _ = socket.send_to(&ZEROS[..count], at);
        left -= u64::try_from(count).unwrap_or_default();
        next += pace;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    shared.has_sent.store(true, Ordering::Relaxed);
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
