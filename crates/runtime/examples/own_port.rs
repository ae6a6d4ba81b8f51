//! A kind of port of your own: frames to and from another thread of the program, without a device.
//!
//! Two such ports are joined by a switch. The main thread sends a broadcast into one, and receives it from
//! the other; then it stops the loop. Run it: `cargo run -p adit-runtime --example own_port`.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_engine::PortId;
use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
use adit_packet::{Batch, Pool, PoolConfig};
use adit_runtime::{Cx, Event, Gone, Handler, Next, Port, Recv, Runner, Wait};
use std::error::Error;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// The loop's end: frames come by a channel, and a pipe wakes the loop.
struct ChannelPort {
    name: String,
    frames: Receiver<Vec<u8>>,
    wake: PipeReader,
    out: Sender<Vec<u8>>,
}

impl Port for ChannelPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        let frame = match self.frames.try_recv() {
            Ok(frame) => frame,
            Err(TryRecvError::Empty) => return Recv::Nothing,
            Err(TryRecvError::Disconnected) => return Recv::Gone(Gone::Closed),
        };
        // One byte a frame: the pipe is readable as long as there are frames.
        let _ = self.wake.read(&mut [0]);
        let Some(mut packet) = cx.pool.take(frame.len()) else {
            cx.counters.no_buffer += 1;
            return Recv::Dropped;
        };
        match packet.extend(&frame) {
            Ok(()) => Recv::Packet(packet),
            Err(_) => {
                cx.pool.give(packet);
                cx.counters.malformed += 1;
                Recv::Dropped
            }
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let mut result = Ok(());
        for packet in batch.drain(..) {
            cx.counters.sent += 1;
            result = self.out.send(packet.bytes().to_vec()).map_err(|_| Gone::Closed);
            cx.pool.give(packet);
        }
        result
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.wake.as_fd(), Wait::Read);
    }
}

/// The other end, for any thread.
struct Guest {
    frames: Sender<Vec<u8>>,
    wake: PipeWriter,
    inbox: Receiver<Vec<u8>>,
}

impl Guest {
    fn send(&mut self, frame: Vec<u8>) -> Result<(), Box<dyn Error>> {
        self.frames.send(frame)?;
        Ok(self.wake.write_all(&[0])?)
    }
}

fn pair(name: &str) -> Result<(ChannelPort, Guest), Box<dyn Error>> {
    let ((frames, theirs), (out, inbox)) = (channel(), channel());
    let (reader, writer) = std::io::pipe()?;
    let port = ChannelPort { name: name.to_owned(), frames: theirs, wake: reader, out };
    Ok((port, Guest { frames, wake: writer, inbox }))
}

/// Stops the loop when the alarm is due.
struct Owner;

impl Handler<Switch> for Owner {
    fn event(&mut self, _: &mut Runner<Switch>, event: Event) -> Next {
        if matches!(event, Event::Alarm) { Next::Stop } else { Next::Continue }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = SwitchConfig::default();
    // It would send probes between our frames.
    config.loop_guard.enabled = false;
    let switch = Switch::new(config)?;
    let mut runner = Runner::new(switch, Pool::new(PoolConfig::default()))?;
    let (port_a, mut a) = pair("a")?;
    let (port_b, b) = pair("b")?;
    for (id, port) in [(PortId(0), port_a), (PortId(1), port_b)] {
        runner.engine_mut().add_port(id, PortConfig::default())?;
        runner.attach(id, Box::new(port))?;
    }
    let remote = runner.remote()?;
    let running = std::thread::spawn(move || runner.run(&mut Owner));

    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend(b"hello");
    a.send(frame.clone())?;
    let received = b.inbox.recv()?;
    println!("b received {} bytes", received.len());
    assert_eq!(received, frame);

    let received = remote.call(|runner| {
        runner.set_alarm(Some(runner.now()));
        runner.port(PortId(0)).map(|(_, counters)| counters.received)
    })?;
    println!("port a received {} frame", received.unwrap_or(0));
    running.join().expect("the loop does not panic")?;
    Ok(())
}
