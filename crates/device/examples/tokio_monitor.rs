//! Counts the packets of a TUN device per protocol, with tokio: `tokio_monitor NAME ADDRESS/LENGTH TIME`.
//!
//! It creates the device and sends everything back to where it came from, so that the host sees each
//! packet twice, and prints the counts after TIME (`10s`, `5m`).
//!
//! ```text
//! $ cargo run -p adit-device --features tokio --example tokio_monitor -- tun0 192.0.2.1/24 10s
//! ```
#![expect(clippy::print_stdout, reason = "an example")]

use adit_device::{AsyncQueue, DeviceOptions, Mode, RECORD_LEN_MAX};
use adit_packet::Headers;
use std::collections::BTreeMap;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, time] = args.as_slice() else {
        return Err("usage: tokio_monitor NAME ADDRESS/LENGTH TIME".into());
    };
    let time = adit_packet::units::parse_duration(time)?;
    let mut device = DeviceOptions::new(Mode::Tun)
        .name(name.parse()?)
        .address(address.parse()?)
        .up(true)
        .open()?;
    println!("{} is up", device.name()?);

    // The device keeps its settings; the queue moves to the reactor of the runtime.
    let queue = AsyncQueue::new(device.take_queues().remove(0))?;
    let mut counts = BTreeMap::new();
    // Cancelling is safe: a receive that has not completed has taken no packet.
    let ended = tokio::time::timeout(time, count(&queue, &mut counts)).await;
    if let Ok(failed) = ended {
        failed?;
    }
    for (protocol, count) in counts {
        println!("protocol {protocol}: {count}");
    }
    Ok(())
}

/// Receives, counts and returns packets until an error, such as that the device was deleted.
async fn count(queue: &AsyncQueue, counts: &mut BTreeMap<u8, u64>) -> std::io::Result<()> {
    let mut buf = vec![0; RECORD_LEN_MAX];
    loop {
        let len = queue.recv(&mut buf).await?;
        let packet = &buf[..len];
        if let Some(protocol) =
            Headers::parse_packet(packet).ok().and_then(|headers| headers.protocol())
        {
            *counts.entry(protocol).or_default() += 1;
        }
        queue.send(packet).await?;
    }
}
