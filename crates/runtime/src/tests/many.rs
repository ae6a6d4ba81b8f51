//! Ports in the thousands, ports of a program's own, requests of other threads.

use crate::port::{Cx, Gone, Port, Recv, Wait};
use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::wake::mailbox::CallError;
use crate::wake::reactor::{Interest, Token};
use adit_engine::Hub;
use adit_engine::PortId;
use adit_packet::{Batch, Instant, Pool, PoolConfig};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often ports of a kind were called.
#[derive(Debug, Default)]
struct Calls {
    recv: AtomicU64,
    send: AtomicU64,
    timeout: AtomicU64,
    /// How many milliseconds a read takes.
    pause: AtomicU64,
}

impl Calls {
    fn take(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.recv), take(&self.send), take(&self.timeout))
    }
}

/// A port whose packets are the counts of an eventfd.
struct EventPort {
    event: Arc<OwnedFd>,
    calls: Arc<Calls>,
    fails: bool,
    deadline: Option<Instant>,
}

impl Port for EventPort {
    fn name(&self) -> &'static str {
        "event"
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        self.calls.recv.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(self.calls.pause.load(Ordering::Relaxed)));
        if self.fails {
            return Recv::Failed(io::Error::other("it is broken"));
        }
        let mut count = [0; 8];
        if rustix::io::read(&*self.event, &mut count).is_err() {
            return Recv::Nothing;
        }
        let mut packet = cx.pool.take(60).expect("a buffer");
        packet.extend(&[0xff; 60]).expect("room");
        Recv::Packet(packet)
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        self.calls.send.fetch_add(1, Ordering::Relaxed);
        cx.counters.sent += u64::try_from(batch.len()).unwrap_or(0);
        batch.give_all(cx.pool);
        Ok(())
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.event.as_fd(), Wait::Read);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.calls.timeout.fetch_add(1, Ordering::Relaxed);
        self.deadline
    }
}

struct Nobody;

impl Handler<Hub> for Nobody {
    fn event(&mut self, _: &mut Runner<Hub>, event: Event) -> Next {
        panic!("{event:?}")
    }
}

/// A runner with so many ports, of which the engine knows the first two.
fn runner(count: u16, deadline: Option<Duration>) -> (Runner<Hub>, Vec<Arc<OwnedFd>>, Arc<Calls>) {
    let mut runner = Runner::new(Hub::default(), Pool::new(PoolConfig::default())).unwrap();
    runner.engine_mut().ports = vec![PortId(0), PortId(1)];
    let calls = Arc::new(Calls::default());
    let events: Vec<_> = (0..count)
        .map(|id| {
            let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
            let event = Arc::new(eventfd(0, flags).unwrap());
            let (event, calls) = (Arc::clone(&event), Arc::clone(&calls));
            let port = EventPort {
                event: Arc::clone(&event),
                calls,
                fails: false,
                deadline: deadline.map(|after| runner.now() + after),
            };
            runner.attach(PortId(id), Box::new(port)).unwrap();
            event
        })
        .collect();
    // Every port is read once after it was attached; a turn has its time, so a busy machine needs several.
    while calls.recv.load(Ordering::Relaxed) < u64::from(count) {
        runner.turn(&mut Nobody).unwrap();
    }
    calls.take();
    (runner, events, calls)
}

fn ring(event: &OwnedFd) {
    rustix::io::write(event, &1_u64.to_ne_bytes()).unwrap();
}

#[test]
fn a_turn_touches_only_what_is_ready() {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let enough = limits.current.is_none_or(|current| current > 2100);
    if !enough {
        let more = rustix::process::Rlimit { current: limits.maximum, ..limits };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, more).unwrap();
    }
    for with_deadlines in [false, true] {
        let deadline = with_deadlines.then_some(Duration::from_secs(600));
        let (mut runner, events, calls) = runner(2000, deadline);
        for _ in 0..3 {
            runner.turn(&mut Nobody).unwrap();
            assert_eq!(calls.take(), (0, 0, 0), "nothing is ready, nothing is touched");
            ring(&events[0]);
            runner.turn(&mut Nobody).unwrap();
            let (recv, send, timeout) = calls.take();
            assert_eq!((recv, send), (2, 1), "one port brought a frame, another took it");
            assert!(timeout <= 4, "only theirs were asked for: {timeout}");
        }
    }
}

#[test]
fn the_owner_does_not_wait_for_all_ports() {
    struct Owner(u32);
    impl Handler<Hub> for Owner {
        fn event(&mut self, _: &mut Runner<Hub>, event: Event) -> Next {
            assert!(matches!(event, Event::Ready(Token(9))), "{event:?}");
            self.0 += 1;
            Next::Continue
        }
    }
    const PORTS: u64 = 60;
    let (mut runner, events, calls) = runner(60, None);
    calls.pause.store(1, Ordering::Relaxed);
    let watched = eventfd(1, EventfdFlags::NONBLOCK).unwrap();
    events.iter().for_each(|event| ring(event));
    // The last of all that are ready.
    runner.watch(&watched, Token(9), Interest::READ).unwrap();
    let (mut owner, mut received, mut turns) = (Owner(0), 0, 0);
    while received < 2 * PORTS {
        runner.turn(&mut owner).unwrap();
        let (recv, ..) = calls.take();
        assert!(recv < PORTS, "a turn has a limit: {recv}");
        received += recv;
        turns += 1;
        assert_eq!(owner.0, turns, "the owner has its turn each time");
    }
    runner.turn(&mut owner).unwrap();
    assert_eq!(calls.take().0, 0, "each port brought its frame once");
}

#[test]
fn a_read_that_always_fails_is_repeated_with_pauses() {
    let (mut runner, events, calls) = runner(2, None);
    runner.detach(PortId(0)).unwrap();
    ring(&events[0]);
    let event = Arc::clone(&events[0]);
    let broken = EventPort { event, calls: Arc::clone(&calls), fails: true, deadline: None };
    runner.attach(PortId(0), Box::new(broken)).unwrap();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        runner.turn(&mut Nobody).unwrap();
    }
    let (recv, ..) = calls.take();
    assert!((17..60).contains(&recv), "{recv} reads in half a second");
    assert!(runner.port(PortId(0)).is_some(), "it may work again");
}

#[test]
fn other_threads_ask_a_running_loop() {
    let (mut runner, _events, _) = runner(3, None);
    let remote = runner.remote().unwrap();
    let handler = std::thread::spawn(move || {
        struct Until;
        impl Handler<Hub> for Until {
            fn event(&mut self, _: &mut Runner<Hub>, event: Event) -> Next {
                assert!(matches!(event, Event::Alarm), "{event:?}");
                Next::Stop
            }
        }
        runner.run(&mut Until).unwrap();
        runner
    });
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let remote = remote.clone();
            std::thread::spawn(move || {
                for _ in 0..200 {
                    let ports = remote.call(|runner| runner.engine().ports.len());
                    assert_eq!(ports, Ok(2));
                }
            })
        })
        .collect();
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    let inner = remote.clone();
    assert_eq!(remote.call(move |_| inner.call(|_| ())), Ok(Err(CallError::Deadlock)));
    remote.post(|runner| runner.set_alarm(Some(runner.now()))).unwrap();
    let runner = handler.join().unwrap();
    drop(runner);
    assert_eq!(remote.call(|_| ()), Err(CallError::Gone));
    assert_eq!(remote.post(|_| ()), Err(CallError::Gone));
}
