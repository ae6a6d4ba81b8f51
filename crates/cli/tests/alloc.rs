//! The loop allocates nothing for a packet, once it is warm.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;

#[test]
fn frames_between_ports_of_all_kinds_allocate_nothing() {
    adit_device::Netns::enter_new().unwrap();
    let name = format!("adit-alloc-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).unwrap();
    let counted = adit_runtime::exercise::count_while_forwarding(&folder, counting::allocations);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(counted, 0);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_switch_whose_frames_pass_in_the_kernel_allocates_nothing() {
    adit_device::Netns::enter_new().unwrap();
    assert_eq!(adit_runtime::exercise::count_while_accelerated(counting::allocations), 0);
}
