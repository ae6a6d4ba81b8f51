use super::*;
use std::fs::File;

/// Whether this process may load programs: root of the initial user namespace.
fn privileged() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn a_process_without_privilege_cannot_load() {
    let error = EbpfProgram::snaplen(1).err();
    let wanted = if privileged() { None } else { Some(libc::EPERM) };
    assert_eq!(error.as_ref().and_then(|error| error.io_error().raw_os_error()), wanted);
    if let Some(error) = error {
        assert_eq!(error.log(), "");
        assert_eq!(error.to_string(), "cannot load an eBPF program");
        assert_eq!(io::Error::from(error).raw_os_error(), Some(libc::EPERM));
    }
}

#[test]
fn a_descriptor_of_another_kind_is_refused() {
    let file = File::open("/dev/null").unwrap();
    let error = EbpfProgram::from_fd(file.into()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn distances_are_counted_from_the_next_instruction() {
    use assembler::Condition;
    let mut asm = Assembler::default();
    let (back, forth) = (asm.label(), asm.label());
    asm.bind(back);
    asm.jump_if(Register::R1, Condition::Equal, 7, forth);
    asm.jump(back);
    asm.bind(forth);
    asm.exit();
    let distances: Vec<_> = asm.finish().iter().map(|instruction| instruction.offset).collect();
    assert_eq!(distances, [1, -2, 0]);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_program_answers_and_changes_hands() {
    let program = EbpfProgram::snaplen(24).unwrap();
    assert_eq!(program.run(&[0x45; 100]).unwrap(), 24);
    assert_eq!(program.run(&[]).unwrap(), 24);
    assert_eq!(program.run(&[0; 100_000]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let program = EbpfProgram::from_fd(program.into()).unwrap();
    assert_eq!(program.run(&[0x45]).unwrap(), 24);
    assert_eq!(EbpfProgram::snaplen(u32::MAX).unwrap().run(&[0]).unwrap(), u32::MAX);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_verifier_says_why_it_refuses() {
    let mut asm = Assembler::default();
    asm.copy(Register::R0, Register::R4);
    asm.exit();
    let error = EbpfProgram::from_instructions(&asm.finish(), LICENCE).unwrap_err();
    assert_eq!(error.io_error().raw_os_error(), Some(libc::EACCES));
    assert!(error.log().contains("R4 !read_ok"), "{}", error.log());
    assert_eq!(error.to_string(), "the kernel rejected the eBPF program: R4 !read_ok");

    let error = EbpfProgram::from_instructions(&[], LICENCE).unwrap_err();
    assert!(matches!(error.io_error().raw_os_error(), Some(libc::EINVAL | libc::E2BIG)));
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_map_is_not_taken_for_a_program() {
    let map = ArrayMap::new(8).unwrap();
    assert_eq!(map.update(&[0; 7]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    map.update(&[1; 8]).unwrap();
    let error = EbpfProgram::from_fd(map.as_fd().try_clone_to_owned().unwrap()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}
