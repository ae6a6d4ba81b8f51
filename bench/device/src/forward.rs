//! Two TAP devices in two namespaces, and a thread a direction that forwards between them.

use crate::case::Sample;
use crate::cpu;
use crate::mover::{Mover, MoverKind};
use crate::rig;
use crate::rig::{FAR, TapPair};
use adit_device::Queue;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a sleep lasts until the end of the turn is looked for.
const NAP: Duration = Duration::from_millis(50);
/// How long address resolution and the slow start of TCP may take before counting begins.
const WARM_UP: Duration = Duration::from_millis(100);
/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// What the threads of a turn share.
#[derive(Default)]
struct Turn {
    over: AtomicBool,
    /// Forwarded from near to far.
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// Ends the turn also where its driver fails or panics, for its threads are joined.
struct Ender<'a>(&'a Turn);

impl Drop for Ender<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Turn {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Forwards until the turn is over, and counts if it is asked to.
    fn forward(&self, kind: MoverKind, from: &Queue, to: &Queue, count: bool) {
        let mut mover = Mover::new(kind);
        while !self.is_over() {
            match mover.forward(from, to) {
                Ok(moved) if count => {
                    self.packets.fetch_add(moved.packets, Ordering::Relaxed);
                    self.bytes.fetch_add(moved.bytes, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if from.wait(false, Some(NAP)).is_ok_and(|ready| ready.gone) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Lets the traffic flow and counts what is forwarded in `time`.
    fn sample(&self, time: Duration) -> io::Result<Sample> {
        thread::sleep(WARM_UP);
        let count = || (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let (busy, start, before) = (cpu::busy()?, Instant::now(), count());
        thread::sleep(time);
        let (after, time) = (count(), start.elapsed());
        let cpu = cpu::busy()?.saturating_sub(busy);
        if after.0 == before.0 {
            return Err(io::Error::other("nothing was forwarded"));
        }
        Ok(Sample { packets: after.0 - before.0, bytes: after.1 - before.1, time, cpu })
    }
}

/// Forwards one TCP stream for `time`.
pub(crate) fn stream(kind: MoverKind, time: Duration) -> io::Result<Sample> {
    run(kind, time, |turn, pair, scope| {
        let listener = pair.far_netns.run(|| TcpListener::bind((FAR, 0)))??;
        let to = listener.local_addr()?;
        let mut sender = TcpStream::connect_timeout(&to, CONNECT_TIME_MAX)?;
        let (mut receiver, _) = listener.accept()?;
        sender.set_write_timeout(Some(NAP))?;
        receiver.set_read_timeout(Some(NAP))?;
        scope.spawn(move || {
            let data = vec![0x5a; 256 * 1024];
            while !turn.is_over() {
                // A time limit that ran out is the only thing that happens here, and no failure.
                let _ = sender.write(&data);
            }
        });
        scope.spawn(move || {
            let mut data = vec![0; 256 * 1024];
            while !turn.is_over() {
                let _ = receiver.read(&mut data);
            }
        });
        Ok(())
    })
}

/// Forwards UDP packets of 64 bytes for `time`, as fast as one socket makes them.
pub(crate) fn datagrams(kind: MoverKind, time: Duration) -> io::Result<Sample> {
    run(kind, time, |turn, pair, scope| {
        // Nobody reads from it, but it keeps the kernel from saying that nobody is there.
        let receiver = pair.far_netns.run(|| UdpSocket::bind((FAR, 0)))??;
        let to = receiver.local_addr()?;
        let sender = UdpSocket::bind((rig::NEAR, 0))?;
        scope.spawn(move || {
            let _receiver = receiver;
            while !turn.is_over() {
                // Packets of 64 bytes with their headers. ENOBUFS is the drop of a full queue.
                let _ = sender.send_to(&[0x5a; 36], to);
            }
        });
        Ok(())
    })
}

/// Runs the forwarders, starts the traffic and takes the sample.
fn run(
    kind: MoverKind,
    time: Duration,
    traffic: impl for<'s> FnOnce(&'s Turn, &'s TapPair, &'s thread::Scope<'s, '_>) -> io::Result<()>,
) -> io::Result<Sample> {
    let pair = TapPair::new()?;
    let (near, far) = pair.queues().ok_or_else(|| io::Error::other("a device has no queue"))?;
    let turn = Turn::default();
    thread::scope(|scope| {
        let _ender = Ender(&turn);
        scope.spawn(|| turn.forward(kind, near, far, true));
        scope.spawn(|| turn.forward(kind, far, near, false));
        traffic(&turn, &pair, scope)?;
        turn.sample(time)
    })
}
