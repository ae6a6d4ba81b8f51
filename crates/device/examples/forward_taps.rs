//! Joins two TAP devices with super-packets and several queues: `forward_taps A B [QUEUES [SECONDS]]`.
//!
//! Each queue of A is joined with a queue of B by two threads, one in each direction. TCP and UDP
//! super-packets of up to 64 KiB cross whole, with their virtio-net header, so a frame of MTU size
//! never exists; packets of one flow are joined before they are sent. It runs for SECONDS, or until
//! Ctrl-C.
//!
//! ```text
//! $ cargo run -p adit-device --example forward_taps -- tap0 tap1 4
//! ```
//!
//! Put each TAP into a network namespace, or into a virtual machine, and give it an address there.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_device::{
    Batch, Device, DeviceOptions, ErrorKind, Mode, OffloadChoice, Pool, PoolConfig, Queue,
    Receiver, SendOptions, Sender, VnetFormat,
};
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a thread without traffic checks whether it must exit.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [a, b, rest @ ..] = args.as_slice() else {
        return Err("usage: forward_taps A B [QUEUES [SECONDS]]".into());
    };
    let queues = rest.first().map_or(Ok(1), |queues| queues.parse())?;
    let time = rest.get(1).map(|time| adit_packet::units::parse_seconds(time)).transpose()?;
    let (mut a, mut b) = (tap(a, queues)?, tap(b, queues)?);
    println!("{} and {} are up, {}", a.name()?, b.name()?, a.offload());

    let (from_a, from_b) = (a.take_queues(), b.take_queues());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (a, b) in from_a.iter().zip(&from_b) {
            threads.push(scope.spawn(|| forward(a, b, &ended)));
            threads.push(scope.spawn(|| forward(b, a, &ended)));
        }
        let until = time.map(|time| Instant::now() + time);
        while until.is_none_or(|until| Instant::now() < until) {
            std::thread::sleep(CHECK_INTERVAL);
        }
        ended.store(true, Ordering::Relaxed);
        let results = threads.into_iter().map(|thread| thread.join().expect("a thread panicked"));
        let packets = results.sum::<io::Result<u64>>()?;
        println!("forwarded {packets} packets");
        Ok(())
    })
}

fn tap(name: &str, queues: u16) -> Result<Device, Box<dyn Error>> {
    let device = DeviceOptions::new(Mode::Tap)
        .name(name.parse()?)
        .queues(queues)
        .multi_queue(true)
        .nonblocking(true)
        // The header describes super-packets; `Auto` asks for every kind that this kernel has.
        .vnet_hdr(VnetFormat::default())
        .offload(OffloadChoice::Auto)
        .up(true)
        .open()?;
    Ok(device)
}

/// Forwards from one queue to the other until `ended`; returns how many packets the kernel took.
fn forward(from: &Queue, to: &Queue, ended: &AtomicBool) -> io::Result<u64> {
    let mut pool = Pool::new(PoolConfig::default());
    let mut batch = Batch::new();
    let mut receiver = Receiver::whole(from.mode());
    let mut sender = Sender::new(to.mode(), SendOptions::ALL);
    let mut packets = 0;
    while !ended.load(Ordering::Relaxed) {
        match receiver.recv_batch(from, &mut pool, &mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                from.wait(false, Some(CHECK_INTERVAL))?;
                continue;
            }
            Err(error) => return Err(error),
        }
        while !batch.is_empty() || sender.has_pending() {
            match sender.send_batch(to, &mut pool, &mut batch) {
                Ok(done) => packets += u64::try_from(done.sent).unwrap_or(0),
                // A TAP that is down takes nothing: drop what was meant for it, as a switch does.
                Err(error) if ErrorKind::of_queue(&error) == ErrorKind::LinkDown => {
                    batch.give_all(&mut pool);
                    sender.give_pending(&mut pool);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(packets)
}
