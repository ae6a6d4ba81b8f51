use super::*;

const MSS: usize = 1000;
const RTT: Duration = Duration::from_millis(100);

fn data(number: u32) -> Seen {
    Seen {
        source: 1,
        destination: 2,
        sequence: number * 1000,
        ack: 1,
        flags: TcpFlags::ACK,
        len: 1000,
        transport: 0,
        ..Seen::default()
    }
}

fn ack(number: u32, blocks: &[(u32, u32)]) -> Seen {
    let mut seen = Seen { ack: number * 1000, len: 0, ..data(0) };
    for (block, &(left, right)) in seen.blocks.iter_mut().zip(blocks) {
        *block = Some((left * 1000, right * 1000));
    }
    seen
}

struct Flow {
    reno: Reno,
    now: Instant,
    next: u32,
}

impl Flow {
    fn new() -> Self {
        let mut reno = Reno::new(MSS);
        let syn = Seen { flags: TcpFlags::SYN, len: 0, sequence: u32::MAX, ..data(0) };
        reno.sent(Instant::ZERO, &syn, &[]);
        Self { reno, now: Instant::ZERO, next: 0 }
    }

    /// Sends as much as the window allows.
    fn fill(&mut self) -> u32 {
        let before = self.next;
        while self.reno.board.outstanding() + MSS <= self.reno.window() {
            self.reno.sent(self.now, &data(self.next), &[0; 1020]);
            self.next += 1;
        }
        self.next - before
    }

    fn acks(&mut self, numbers: core::ops::RangeInclusive<u32>) {
        self.now += RTT;
        numbers.for_each(|number| _ = self.reno.arrived(self.now, &ack(number, &[])));
    }
}

#[test]
fn the_window_doubles_and_then_grows_by_a_segment_a_round_trip() {
    let mut flow = Flow::new();
    assert_eq!(flow.fill(), 10);
    flow.acks(1..=10);
    assert_eq!(flow.fill(), 20);
    flow.reno.ssthresh = 20;
    flow.acks(11..=30);
    assert_eq!(flow.fill(), 21, "congestion avoidance");
    flow.acks(31..=51);
    assert_eq!(flow.fill(), 22);
}

#[test]
fn a_window_that_is_not_filled_does_not_grow() {
    let mut flow = Flow::new();
    for number in 0..8 {
        flow.reno.sent(flow.now, &data(number), &[0; 1020]);
        flow.acks(number + 1..=number + 1);
    }
    assert_eq!(flow.reno.cwnd, 10);
}

#[test]
fn many_losses_in_a_window_halve_it_once_and_are_repeated_in_a_round_trip() {
    let mut flow = Flow::new();
    flow.reno.cwnd = 40;
    assert_eq!(flow.fill(), 40);
    flow.now += RTT;
    // Every second one of the first 20 is lost: 0, 2, ... 18. The rest arrives.
    let mut repeated = 0;
    let mut sent_new = 0;
    for arrived in (1..20).step_by(2).chain(20..40) {
        assert!(
            flow.reno.arrived(flow.now, &ack(0, &[(arrived, arrived + 1)])),
            "smoltcp sees none"
        );
        repeated += flow.reno.poll(flow.now).len();
        sent_new += flow.fill();
    }
    assert_eq!(flow.reno.ssthresh, 20);
    assert_eq!(repeated, 10);
    let sent = repeated + usize::try_from(sent_new).unwrap();
    assert!((18..=20).contains(&sent), "{sent}: what flies is the half");
    flow.now += RTT;
    flow.reno.arrived(flow.now, &ack(flow.next, &[]));
    assert_eq!((flow.reno.cwnd, flow.reno.recovery.is_none()), (20, true));
}

#[test]
fn a_loss_at_the_end_is_found_by_a_probe_and_else_by_a_timeout() {
    let mut flow = Flow::new();
    assert_eq!(flow.fill(), 10);
    flow.acks(1..=5);
    let due = flow.reno.due();
    assert_eq!(due, flow.now + 2 * RTT + Reno::PROBE_MIN, "two round trips");
    assert_eq!(flow.reno.poll(due).len(), 1);
    // The probe's answer shows that 5 to 8 are lost.
    flow.reno.arrived(due + RTT, &ack(5, &[(9, 10)]));
    assert_eq!(flow.reno.poll(due + RTT).len(), 1, "as much as arrived");
    assert_eq!(flow.reno.ssthresh, 7);

    let mut flow = Flow::new();
    flow.fill();
    flow.acks(1..=5);
    assert_eq!(flow.reno.poll(flow.reno.due()).len(), 1);
    let timeout = flow.reno.due();
    assert!(timeout >= flow.now + 2 * RTT + Rtt::MIN);
    assert_eq!(flow.reno.poll(timeout).len(), 1, "one segment");
    assert_eq!(flow.reno.cwnd, 1);
    assert!(flow.reno.due() >= timeout + 2 * Rtt::MIN, "the next one is later");
    flow.reno.arrived(timeout + RTT, &ack(6, &[]));
    assert_eq!(flow.reno.poll(timeout + RTT).len(), 2, "slow start");
}
