//! Programs and commands.

use crate::support::{
    PATIENCE, begin, command, done, event, fails, node, program, run, shot, start, succeeds,
};
use adit_lab::keeper::{
    CommandOutput, Done, NodeKey, Order, Output, ProgramEvent, ProgramKey, Report,
};
use adit_service::error::Kind;
use adit_topology::model::Restart;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

pub(crate) fn a_program_is_watched_and_started_again() {
    let mut keeper = start();
    done(&mut keeper, [node(1)]);
    let mut spec = program(1, 1, "echo run; exit 3");
    (spec.restart, spec.output) = (Restart::OnFailure, Output::Pipe);
    let (_, output) = begin(&mut keeper, spec);
    let mut waits = Vec::new();
    let mut restarts = 0;
    while waits.len() < 3 {
        match event(&mut keeper) {
            Report::Program(ProgramEvent::Exited {
                program: ProgramKey(1),
                status: 3,
                again_in: Some(wait),
            }) => waits.push(wait),
            // Its number is 0 if it has ended meanwhile.
            Report::Restarted(ProgramKey(1), Ok(_)) => restarts += 1,
            Report::Program(ProgramEvent::Ready(ProgramKey(1))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((waits[1], waits[2], restarts), (waits[0] * 2, waits[0] * 4, 2));
    let mut bytes = [0; 64];
    let len = File::from(output.unwrap()).read(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"run\nrun\nrun\n", "one pipe for all");
    // A program that succeeds has ended for good.
    let mut spec = program(2, 1, "exit 0");
    spec.restart = Restart::OnFailure;
    done(&mut keeper, [Order::Stop(ProgramKey(1), PATIENCE)]);
    begin(&mut keeper, spec);
    loop {
        if let Report::Program(ProgramEvent::Exited { program, status, again_in }) =
            event(&mut keeper)
            && program == ProgramKey(2)
        {
            assert_eq!((status, again_in), (0, None));
            break;
        }
    }
    let mut missing = program(3, 1, "");
    missing.words = vec!["no-such-program".into()];
    let error = fails(&mut keeper, Order::Run(Box::new(missing)));
    assert_eq!((error.kind, error.report.code.as_str()), (Kind::NotFound, "ADIT-E0831"));
}

pub(crate) fn a_program_is_ready_when_its_command_says_so() {
    let mut keeper = start();
    done(&mut keeper, [node(1)]);
    let mut spec = program(1, 1, "sleep 0.3; echo > /run/there; exec sleep 1000");
    spec.ready = ["test", "-e", "/run/there"].map(str::to_owned).to_vec();
    let (pid, _) = begin(&mut keeper, spec);
    assert!(pid > 1, "as this process sees it");
    assert!(matches!(event(&mut keeper), Report::Program(ProgramEvent::Ready(ProgramKey(1)))));
    succeeds(&mut keeper, 1, "test -e /run/there");
    let mut spec = program(2, 1, "exec sleep 1000");
    (spec.ready, spec.ready_within) = (vec!["false".into()], Duration::from_millis(300));
    begin(&mut keeper, spec);
    assert!(matches!(event(&mut keeper), Report::Program(ProgramEvent::NotReady(ProgramKey(2)))));
}

pub(crate) fn commands_have_limits() {
    let mut keeper = start();
    done(&mut keeper, [node(1)]);
    let mut late = shot(1, "echo begun; exec sleep 1000");
    late.within = Duration::from_secs(1);
    let output = run(&mut keeper, late);
    assert_eq!((output.status, output.stdout.as_str()), (None, "begun\n"));
    let output = command(&mut keeper, 1, "yes | head -c 1000000; echo why >&2; exit 7");
    assert_eq!((output.status, output.stderr.as_str()), (Some(7), "why\n"));
    assert!(output.is_cut && output.stdout.len() == CommandOutput::LEN_MAX);
    // A daemon that keeps the pipe open does not keep the command.
    succeeds(&mut keeper, 1, "sleep 1000 &");
    // More than run at once.
    let many = (0..200).map(|number| Order::Command(Box::new(shot(1, &format!("echo {number}")))));
    let mut numbers: Vec<u32> = done(&mut keeper, many)
        .into_iter()
        .map(|done| match done {
            Done::Output(output) => output.stdout.trim().parse().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

pub(crate) fn programs_end_when_asked() {
    let mut keeper = start();
    done(&mut keeper, [node(1)]);
    let folder = std::env::temp_dir().join(format!("adit-keeper-{}", std::process::id()));
    let log = folder.join("log");
    std::fs::create_dir(&folder).unwrap();
    let mut spec =
        program(1, 1, "trap 'echo ended; exit 5' TERM; echo begun; while :; do sleep 0.01; done");
    (spec.restart, spec.output) = (Restart::Always, Output::File(log.clone()));
    begin(&mut keeper, spec);
    let begun =
        format!("for i in $(seq 1000); do test -s {} && break; sleep 0.01; done", log.display());
    succeeds(&mut keeper, 1, &begun);
    let mut deaf = program(2, 1, "trap '' TERM; echo > /run/deaf; while :; do sleep 0.01; done");
    deaf.restart = Restart::Always;
    begin(&mut keeper, deaf);
    succeeds(
        &mut keeper,
        1,
        "for i in $(seq 1000); do test -e /run/deaf && break; sleep 0.01; done",
    );
    let stops = [
        Order::Stop(ProgramKey(1), PATIENCE),
        Order::Stop(ProgramKey(2), Duration::from_millis(50)),
    ];
    done(&mut keeper, stops);
    let mut ends = Vec::new();
    while ends.len() < 2 {
        if let Report::Program(ProgramEvent::Exited { program, status, again_in: None }) =
            event(&mut keeper)
        {
            ends.push((program.0, status));
        }
    }
    ends.sort_unstable();
    assert_eq!(ends, [(1, 5), (2, 128 + 9)]);
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.starts_with("begun\n") && written.ends_with("ended\n"), "{written}");
    std::fs::remove_dir_all(folder).unwrap();
    let error = fails(&mut keeper, Order::Signal(ProgramKey(1), 15));
    assert!(error.to_string().contains("not running"), "{error}");
    assert_eq!(succeeds(&mut keeper, 1, "pgrep -x sleep | wc -l"), "0\n");
    done(&mut keeper, [Order::RemoveNode(NodeKey(1))]);
}
