//! bpf(2): maps, programs that look at socket buffers, and their links to interfaces (`linux/bpf.h`).

use crate::broker::{self, BpfMap, Request};
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One instruction: `struct bpf_insn`.
///
/// Eight bytes: operation, two registers of four bits, jump distance or memory offset, constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation: class, size or source, mode.
    pub code: u8,
    /// Destination register and source register; the destination is the low half of the byte on a
    /// little-endian machine and the high half on a big-endian one.
    pub registers: u8,
    /// Distance of a jump in instructions from the next one, or offset of a memory access in bytes.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// `BPF_PROG_TYPE_SOCKET_FILTER`: the only type that the tun driver takes.
pub(crate) const PROG_TYPE_SOCKET_FILTER: u32 = 1;
/// `BPF_PROG_TYPE_SCHED_CLS`: programs of an interface.
pub(crate) const PROG_TYPE_SCHED_CLS: u32 = 3;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
/// `BPF_F_NO_PREALLOC`: an element takes memory while it is in the map.
const NO_PREALLOC: u32 = 1;
/// `BPF_TCX_INGRESS`, since Linux 6.6.
const TCX_INGRESS: u32 = 46;

/// An array map with one element, key 0, of a fixed number of bytes.
#[derive(Debug)]
pub struct ArrayMap {
    fd: OwnedFd,
    /// The length of the value in bytes, which the kernel reads and writes without being given it
    /// again.
    value_len: u32,
}

impl ArrayMap {
    /// Makes a map of one value of `value_len` zero bytes.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` in the initial user namespace.
    pub fn new(value_len: u32) -> io::Result<Self> {
        let fd =
            make(BpfMap { kind: MAP_TYPE_ARRAY, key_len: 4, value_len, entries_max: 1, flags: 0 })?;
        Ok(Self { fd, value_len })
    }

    fn check_len(&self, value: &[u8]) -> io::Result<()> {
        if u32::try_from(value.len()) == Ok(self.value_len) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// Reads the value.
    ///
    /// # Errors
    /// EINVAL if `value` has another length than the map's.
    pub fn read(&self, value: &mut [u8]) -> io::Result<()> {
        self.check_len(value)?;
        let key = 0_u32;
        let mut attributes =
            MapElement::of(self.fd.as_fd(), address(&raw const key), address(value.as_mut_ptr()));
        // SAFETY: the kernel reads 4 bytes of key and writes `value_len` bytes of value.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }.map(drop)
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// EINVAL if `value` has another length than the map's.
    pub fn update(&self, value: &[u8]) -> io::Result<()> {
        self.check_len(value)?;
        let key = 0_u32;
        let mut attributes =
            MapElement::of(self.fd.as_fd(), address(&raw const key), address(value.as_ptr()));
        // SAFETY: the kernel reads 4 bytes of key and `value_len` bytes of value, both alive here.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }
}

impl AsFd for ArrayMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A hash map from keys of `K` bytes to values of `V` bytes.
#[derive(Debug)]
pub struct HashMap<const K: usize, const V: usize> {
    fd: OwnedFd,
}

impl<const K: usize, const V: usize> HashMap<K, V> {
    /// Makes an empty map, whose entries take memory while they are in it.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` in the initial user namespace.
    pub fn new(max_entries: u32) -> io::Result<Self> {
        let fd = make(BpfMap {
            kind: MAP_TYPE_HASH,
            key_len: u32::try_from(K).map_err(|_| io::ErrorKind::InvalidInput)?,
            value_len: u32::try_from(V).map_err(|_| io::ErrorKind::InvalidInput)?,
            entries_max: max_entries,
            flags: NO_PREALLOC,
        })?;
        Ok(Self { fd })
    }

    /// Adds an entry or replaces it.
    ///
    /// # Errors
    /// E2BIG if the map is full.
    pub fn insert(&self, key: &[u8; K], value: &[u8; V]) -> io::Result<()> {
        let mut attributes =
            MapElement::of(self.fd.as_fd(), address(key.as_ptr()), address(value.as_ptr()));
        // SAFETY: the map was made with keys of `K` bytes and values of `V`, which the kernel reads.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// ENOENT if there is none.
    pub fn remove(&self, key: &[u8; K]) -> io::Result<()> {
        let mut attributes = MapElement::of(self.fd.as_fd(), address(key.as_ptr()), 0);
        // SAFETY: the kernel reads `K` bytes of key and nothing else.
        unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) }.map(drop)
    }

    /// Reads some entries into `values`, from the place `from` on or from the start; how many, and where
    /// to go on. Entries that are added or removed meanwhile may be left out or read twice.
    ///
    /// # Errors
    /// ENOSPC: `keys` and `values` are shorter than a bucket of the map, some ten entries.
    pub fn page(
        &self,
        from: Option<u32>,
        keys: &mut [[u8; K]],
        values: &mut [[u8; V]],
    ) -> io::Result<(usize, Option<u32>)> {
        let (from_place, mut next) = (from.unwrap_or(0), 0_u32);
        let mut attributes = Batch {
            in_batch: from.map_or(0, |_| address(&raw const from_place)),
            out_batch: address(&raw mut next),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: length(keys)?.min(length(values)?),
            map_fd: raw(self.fd.as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys of `K` bytes and values of `V` bytes, and one
        // number of 32 bits to `next`; it reads one at `in_batch`, if that is not null.
        let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
        let count = usize::try_from(attributes.count).unwrap_or(0);
        match result {
            Ok(_) => Ok((count, Some(next))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
            Err(error) => Err(error),
        }
    }
}

impl<const K: usize, const V: usize> AsFd for HashMap<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn make(map: BpfMap) -> io::Result<OwnedFd> {
    broker::open(&Request::Map(map), &[]).unwrap_or_else(|| map_create(map))
}

/// Makes a map: a hash or an array.
pub(crate) fn map_create(map: BpfMap) -> io::Result<OwnedFd> {
    if ![MAP_TYPE_HASH, MAP_TYPE_ARRAY].contains(&map.kind) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut attributes = MapCreate {
        map_type: map.kind,
        key_size: map.key_len,
        value_size: map.value_len,
        max_entries: map.entries_max,
        map_flags: map.flags,
    };
    // SAFETY: the attributes hold no address, and `MapCreate` is the head of the kernel's union.
    let fd = unsafe { bpf(MAP_CREATE, &mut attributes) }?;
    // SAFETY: MAP_CREATE gives a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a program on what arrives at an interface of this namespace while the descriptor is open; EINVAL
/// without tcx (Linux 6.6).
pub(crate) fn link_ingress(program: BorrowedFd<'_>, index: u32) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        prog_fd: raw(program),
        target_ifindex: index,
        attach_type: TCX_INGRESS,
        flags: 0,
        relative_fd: 0,
        padding: 0,
        expected_revision: 0,
    };
    // SAFETY: the attributes hold no address.
    let fd = unsafe { bpf(LINK_CREATE, &mut attributes) }?;
    // SAFETY: LINK_CREATE gives a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that an instruction holds by its number.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the assembler took the number from a map that the caller of the load keeps open.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Loads a program of `prog_type`; the verifier's log goes to `log`, unless that is empty.
pub(crate) fn prog_load(
    prog_type: u32,
    instructions: &[Instruction],
    licence: &CStr,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let mut attributes = ProgLoad {
        prog_type,
        insn_cnt: length(instructions)?,
        insns: address(instructions.as_ptr()),
        license: address(licence.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: length(log)?,
        log_buf: if log.is_empty() { 0 } else { address(log.as_mut_ptr()) },
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the kernel reads `insn_cnt` instructions and a string with its NUL, and writes at most
    // `log_size` bytes to the log; all of them outlive the call.
    let fd = unsafe { bpf(PROG_LOAD, &mut attributes) }?;
    // SAFETY: PROG_LOAD gives a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a program once on `data`, from the Ethernet header on, and returns its result.
pub(crate) fn prog_test_run(program: BorrowedFd<'_>, data: &[u8]) -> io::Result<u32> {
    let mut attributes = TestRun {
        prog_fd: raw(program),
        retval: 0,
        data_size_in: length(data)?,
        data_size_out: 0,
        data_in: address(data.as_ptr()),
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the kernel reads `data_size_in` bytes of `data`, writes none (no `data_out`), and puts
    // its answer into the attributes.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    Ok(attributes.retval)
}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl MapElement {
    /// The addresses of a key and a value, both of the lengths that the map was made with.
    fn of(map: BorrowedFd<'_>, key: u64, value: u64) -> Self {
        Self { map_fd: raw(map), padding: 0, key, value, flags: 0 }
    }
}

#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// The call itself.
///
/// # Safety
/// `T` is a head of `union bpf_attr` for `command`, and each address in it is good for what the
/// command reads or writes there.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes of `attributes`; the caller vouches
    // for the addresses inside.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::try_from(result).expect("a descriptor or zero"))
}

/// A descriptor as the attributes hold it.
fn raw(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative")
}

/// An address as the attributes hold it, on 32-bit machines too.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn length<T>(slice: &[T]) -> io::Result<u32> {
    u32::try_from(slice.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))
}

crate::wire_structs! { Instruction { code, registers, offset, immediate } }
