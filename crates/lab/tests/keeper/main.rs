//! The keeper, on real namespaces.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic; without the harness of libtest it is not seen as one"
)]

mod ends;
mod harness;
mod inside;
mod network;
mod programs;
mod rights;
mod support;

/// Names and functions of tests.
macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), $module::$name as fn()),)*)*]
    };
}

fn main() {
    harness::run(tests! {
        network: a_veth_answers_at_once a_tap_comes_with_its_queue what_changed_is_changed
            removed_nodes_leave_nothing failures_name_node_and_interface;
        inside: programs_of_a_node_share_their_files files_change_while_programs_run
            a_command_enters_a_node;
        programs: a_program_is_watched_and_started_again a_program_is_ready_when_its_command_says_so
            commands_have_limits programs_end_when_asked;
        rights: a_user_cannot_touch_the_host user_namespaces_that_are_refused_are_explained
            root_interfaces_of_the_host_come_back root_names_are_seen_and_leave_nothing;
        ends: nothing_is_left_after_a_kill long_nothing_is_left_after_many_kills;
    });
}
