use super::*;
use crate::changes::filter::FilterTable;
use crate::error::{Error, Kind, SYSTEM};
use adit_device::Device;

/// Records what is asked of it; what it refuses is in `refused`.
#[derive(Default)]
struct Recorder {
    performed: Vec<String>,
    refused: Vec<String>,
    there: Vec<String>,
}

impl Executor for Recorder {
    fn perform(&mut self, action: &Action) -> Result<Outcome> {
        let text = action.to_string();
        if self.refused.contains(&text) {
            return Err(Error::new(Kind::Refused, &SYSTEM, format!("no {text}")));
        }
        let is_there = self.there.contains(&text);
        self.performed.push(text);
        if is_there {
            return Ok(Outcome::Unchanged);
        }
        let undo = match action {
            Action::AddAddress(address) => Some(Action::DeleteAddress(address.clone())),
            Action::SetMtu(_) => Some(Action::SetMtu(1500)),
            Action::OpenDevice(_) => Some(Action::CloseDevice),
            Action::SetUp(up) => Some(Action::SetUp(!up)),
            Action::SetFilter(table) => Some(Action::DeleteFilter(table.id)),
            _ => None,
        };
        Ok(Outcome::Changed { undo })
    }

    fn take_device(&mut self) -> Result<Device> {
        Err(Error::usage("none"))
    }
}

impl Recorder {
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.performed)
    }
}

fn address(text: &str) -> Action {
    Action::AddAddress(adit_device::netlink::Address::new(text.parse().unwrap()))
}

fn open(is_new: bool) -> Action {
    let name: adit_device::IfName = "site".parse().unwrap();
    Action::OpenDevice(OpenDevice::new(adit_device::Mode::Tun, name.into(), is_new))
}

#[test]
fn a_list_is_performed_in_order_and_undone_in_reverse() {
    let (mut ledger, mut host) = (Ledger::new(), Recorder::default());
    let one = [open(false), Action::SetMtu(1400), address("192.0.2.1/24"), Action::SetUp(true)];
    ledger.apply(&mut host, &one).unwrap();
    assert_eq!(host.take(), one.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(ledger.undo(&mut host).is_empty());
    let undone =
        ["bring it down", "delete address 192.0.2.1/24", "set the MTU to 1500", "close the device"];
    assert_eq!(host.take(), undone);
    assert!(ledger.undo(&mut host).is_empty() && host.take().is_empty());
}

#[test]
fn a_failure_undoes_this_list_only_and_reports_what_is_left() {
    let (mut ledger, mut host) = (Ledger::new(), Recorder::default());
    let first = [address("192.0.2.1/24")];
    ledger.apply(&mut host, &first).unwrap();
    host.take();
    host.refused = vec!["bring it up".to_owned(), "delete address 192.0.2.2/24".to_owned()];
    let two =
        [first[0].clone(), address("192.0.2.2/24"), address("192.0.2.3/24"), Action::SetUp(true)];
    let error = ledger.apply(&mut host, &two).unwrap_err();
    assert_eq!(error.report.message, "no bring it up");
    assert_eq!(error.report.done, ["add address 192.0.2.2/24"]);
    assert_eq!(host.take().last().unwrap(), "delete address 192.0.2.3/24");
    assert_eq!(ledger.actions().collect::<Vec<_>>(), [&first[0]]);
}

#[test]
fn a_later_list_undoes_what_it_does_not_have() {
    let (mut ledger, mut host) = (Ledger::new(), Recorder::default());
    let first =
        [open(true), Action::SetMtu(1400), address("192.0.2.1/24"), address("192.0.2.2/24")];
    ledger.apply(&mut host, &first).unwrap();
    host.take();
    host.there = vec!["add address 192.0.2.2/24".to_owned()];
    let second = [first[0].clone(), Action::SetMtu(1300), first[3].clone()];
    let changed = ledger.apply(&mut host, &second).unwrap();
    assert_eq!(changed, [Action::SetMtu(1300)]);
    let done = ["set the MTU to 1300", "add address 192.0.2.2/24", "delete address 192.0.2.1/24"];
    assert_eq!(host.take(), done, "the old MTU is not set in between");
    // A new device takes with it what is on it.
    assert!(ledger.undo(&mut host).is_empty() && host.take().is_empty());
}

#[test]
fn settings_that_others_removed_are_restored() {
    let (mut ledger, mut host) = (Ledger::new(), Recorder::default());
    ledger.apply(&mut host, &[address("192.0.2.1/24")]).unwrap();
    assert_eq!(ledger.restore(&mut host, |_| false), (Vec::new(), Vec::new()));
    host.there = vec!["add address 192.0.2.1/24".to_owned()];
    assert_eq!(ledger.restore(&mut host, |_| true), (Vec::new(), Vec::new()));
    host.there.clear();
    assert_eq!(ledger.restore(&mut host, |_| true), (vec![address("192.0.2.1/24")], Vec::new()));
    host.refused = vec!["add address 192.0.2.1/24".to_owned()];
    assert_eq!(ledger.restore(&mut host, |_| true).1, ["no add address 192.0.2.1/24"]);
}

/// A list that fails has replaced the packet filter: the one before is there again.
#[test]
fn a_failure_restores_what_was_replaced() {
    let (mut ledger, mut host) = (Ledger::new(), Recorder::default());
    let filter = |mark| Action::SetFilter(FilterTable::kill_switch("site".parse().unwrap(), mark));
    ledger.apply(&mut host, &[filter(1)]).unwrap();
    host.take();
    host.refused = vec!["bring it up".to_owned()];
    ledger.apply(&mut host, &[filter(2), Action::SetUp(true)]).unwrap_err();
    let done =
        [filter(2).to_string(), "nft delete table inet adit-site".into(), filter(1).to_string()];
    assert_eq!(host.take(), done);
    ledger.set_undo(|_| true, None);
    assert!(ledger.undo(&mut host).is_empty() && host.take().is_empty(), "it is left");
}
