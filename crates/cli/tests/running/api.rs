//! The control socket as its OpenAPI document describes it.

use crate::program::{Program, hosts};
use crate::support::describes_itself;

#[test]
fn the_openapi_documents_are_valid_and_describe_the_replies() {
    hosts(&[]);
    let _switch =
        Program::start("switch --port tap:a --port tap:b,vlan=10,netem=delay=1ms --port nat");
    describes_itself("switch", "/run/adit/switch.sock", &["/ports/a", "/ports/b"]);
    let _netem = Program::start("netem --port tap:c --port tap:d --delay 1ms");
    describes_itself("netem", "/run/adit/netem.sock", &[]);
}
