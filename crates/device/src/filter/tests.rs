use super::*;
use crate::cases::cases;
use proptest::prelude::*;
use std::os::unix::net::UnixDatagram;

/// `tcpdump -y EN10MB -ddd 'vlan 5 and tcp port 80'`.
const VLAN_TCP: &str = "27\n40 0 0 12\n21 2 0 33024\n21 1 0 34984\n21 0 22 37120\n40 0 0 14\n\
    84 0 0 4095\n21 0 19 5\n40 0 0 16\n21 0 6 34525\n48 0 0 24\n21 0 15 6\n40 0 0 58\n21 12 0 80\n\
    40 0 0 60\n21 10 11 80\n21 0 10 2048\n48 0 0 27\n21 0 8 6\n40 0 0 24\n69 6 0 8191\n177 0 0 18\n\
    72 0 0 18\n21 2 0 80\n72 0 0 20\n21 0 1 80\n6 0 0 262144\n6 0 0 0\n";

const fn instruction(code: u16, k: u32) -> ClassicInstruction {
    ClassicInstruction { code, jt: 0, jf: 0, k }
}

const RETURN_ALL: ClassicInstruction = instruction(0x06, u32::MAX);

#[test]
fn tcpdump_text_there_and_back() {
    let filter: ClassicFilter = VLAN_TCP.parse().unwrap();
    assert_eq!(filter.instructions().len(), 27);
    assert_eq!(filter.to_string(), VLAN_TCP);
}

#[test]
fn tcpdump_program_chooses() {
    let filter: ClassicFilter = VLAN_TCP.parse().unwrap();
    let mut frame = vec![0; 12];
    frame.extend([0x81, 0x00, 0x20, 0x05, 0x08, 0x00]);
    frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x1f, 0x90, 0, 80]);
    frame.extend([0; 16]);
    assert_eq!(filter.run(&frame), 262_144);
    frame[41] = 81;
    assert_eq!(filter.run(&frame), 0, "another port");
    assert_eq!(filter.run(&frame[..30]), 0, "the packet ends before the port");
    frame[41] = 80;
    frame[15] = 6;
    assert_eq!(filter.run(&frame), 0, "another VLAN");
}

#[test]
fn each_rule_has_its_problem() {
    let long = vec![RETURN_ALL; FILTER_LEN_MAX + 1];
    let jump = ClassicInstruction { code: 0x15, jt: 0, jf: 1, k: 0 };
    let cases = [
        (vec![], 0, FilterProblem::Empty),
        (long, FILTER_LEN_MAX, FilterProblem::TooLong),
        (vec![instruction(0xffff, 0), RETURN_ALL], 0, FilterProblem::Operation),
        (vec![jump, RETURN_ALL], 0, FilterProblem::Jump),
        (vec![instruction(0x05, u32::MAX), RETURN_ALL], 0, FilterProblem::Jump),
        (vec![RETURN_ALL, instruction(0x00, 1)], 1, FilterProblem::NoReturn),
        (vec![instruction(0x34, 0), RETURN_ALL], 0, FilterProblem::DivisionByZero),
        (vec![instruction(0x94, 0), RETURN_ALL], 0, FilterProblem::DivisionByZero),
        (vec![instruction(0x64, 32), RETURN_ALL], 0, FilterProblem::Shift),
        (vec![instruction(0x02, 16), RETURN_ALL], 0, FilterProblem::Scratch),
        (vec![instruction(0x60, 3), RETURN_ALL], 0, FilterProblem::ScratchUnset),
        (vec![instruction(0x28, 0xffff_f000), RETURN_ALL], 0, FilterProblem::BesidePacket),
        (vec![instruction(0xb1, 0x8000_0000), RETURN_ALL], 0, FilterProblem::BesidePacket),
    ];
    for (program, at, problem) in cases {
        let error = ClassicFilter::new(program).unwrap_err();
        assert_eq!((error.at, error.problem), (at, problem));
    }
    for (text, at, problem) in [
        ("", 0, FilterProblem::Text),
        ("x", 0, FilterProblem::Text),
        ("2\n6 0 0 0\n", 1, FilterProblem::Count),
        ("1\n6 0 0\n", 0, FilterProblem::Text),
        ("1\n6 0 0 0 0\n", 0, FilterProblem::Text),
        ("1\n6 256 0 0\n", 0, FilterProblem::Text),
    ] {
        let error = text.parse::<ClassicFilter>().unwrap_err();
        assert_eq!((error.at, error.problem), (at, problem), "{text:?}");
    }
}

#[test]
fn a_vlan_tag_is_never_beside_the_packet() {
    let present = ClassicFilter::new([instruction(0x30, 0xffff_f030), instruction(0x16, 0)]);
    assert_eq!(present.unwrap().run(&[1; 60]), 0);
}

/// What the kernel keeps of `packet`; `None` if it refuses the program.
fn kernel(program: &[ClassicInstruction], packet: &[u8]) -> Option<usize> {
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    receiver.set_nonblocking(true).unwrap();
    if let Err(error) = sys::filter::attach_socket_filter(receiver.as_fd(), program) {
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        return None;
    }
    sender.send(packet).unwrap();
    let mut buffer = vec![0; packet.len() + 1];
    match receiver.recv(&mut buffer) {
        Ok(len) => {
            assert_eq!(buffer[..len], packet[..len]);
            Some(len)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
        Err(error) => panic!("{error}"),
    }
}

/// All operations that the kernel knows.
fn codes() -> Vec<u16> {
    let is_known = |code: &u16| {
        let program = [ClassicInstruction { code: *code, jt: 0, jf: 0, k: 1 }, RETURN_ALL];
        !filter::check(&program).is_err_and(|error| error.problem == FilterProblem::Operation)
    };
    (0..=0xff).filter(is_known).collect()
}

/// Constants: small ones, which are offsets and scratch words, and the edges.
fn constant() -> impl Strategy<Value = u32> {
    let edges = [0, 1, 15, 16, 31, 32, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    prop_oneof![4 => 0..80_u32, 1 => proptest::sample::select(edges.to_vec())]
}

/// Programs of known operations that jump forward and inside; the other rules they may break. Every
/// second one writes all scratch words first.
fn program() -> impl Strategy<Value = Vec<ClassicInstruction>> {
    let one = (proptest::sample::select(codes()), any::<u8>(), any::<u8>(), constant());
    let body = proptest::collection::vec(one, 0..40);
    (any::<bool>(), body, any::<bool>()).prop_map(|(prologue, body, constant)| {
        let mut program = Vec::new();
        if prologue {
            program.push(instruction(0x80, 0));
            program.extend((0..16).map(|word| instruction(0x02, word)));
        }
        let len = body.len();
        for (at, (code, jt, jf, k)) in body.into_iter().enumerate() {
            let room = u8::try_from(len - at).unwrap();
            let k = match code {
                // A jump; scratch words that are stored or loaded.
                0x05 => k % u32::from(room),
                0x02 | 0x03 | 0x60 | 0x61 => k % 16,
                _ => k,
            };
            program.push(ClassicInstruction { code, jt: jt % room, jf: jf % room, k });
        }
        program.push(if constant { instruction(0x06, 30) } else { instruction(0x16, 0) });
        program
    })
}

proptest! {
    #![proptest_config(cases(4000))]

    /// The kernel takes what is valid here, and keeps as much of the packet. What is refused here,
    /// it refuses as well, but for what is beside the packet.
    #[test]
    fn interpreter_agrees_with_the_kernel(
        program in program(),
        packet in proptest::collection::vec(any::<u8>(), 1..80),
    ) {
        let kernel = kernel(&program, &packet);
        match ClassicFilter::new(program) {
            Ok(filter) => {
                let kept = usize::try_from(filter.run(&packet)).unwrap().min(packet.len());
                prop_assert_eq!(Some(kept), kernel);
            }
            Err(FilterError { problem: FilterProblem::BesidePacket, .. }) => {}
            Err(error) => prop_assert_eq!(kernel, None, "{}", error),
        }
    }

    #[test]
    fn random_programs_neither_panic_nor_pass_only_here(
        fields in proptest::collection::vec(any::<(u16, u8, u8, u32)>(), 0..8),
        known in proptest::collection::vec(proptest::sample::select(codes()), 8),
        packet in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let program: Vec<_> = fields
            .into_iter()
            .zip(known)
            .map(|((code, jt, jf, k), known)| ClassicInstruction {
                code: if k % 8 == 0 { code } else { known },
                jt: jt % 3,
                jf: jf % 3,
                k: if k % 3 == 0 { k } else { k % 20 },
            })
            .collect();
        if let Ok(filter) = ClassicFilter::new(program.clone()) {
            let _ = filter.run(&packet);
            prop_assert!(kernel(&program, &packet).is_some());
            prop_assert_eq!(filter.to_string().parse::<ClassicFilter>().unwrap(), filter);
        }
    }

    #[test]
    fn random_text_never_panics(text in "[0-9 \n]{0,60}") {
        let _ = text.parse::<ClassicFilter>();
    }
}
