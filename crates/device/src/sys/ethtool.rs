//! The enabled offload features of a link, and the queue of a device (`include/uapi/linux/ethtool.h`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_FEATURES: u32 = 4;
/// The length of one name (`ETH_GSTRING_LEN`), in the 32-bit words that all buffers here are of.
const NAME_WORDS: usize = 8;
/// The most names that we allocate memory for (128 KiB); Linux 6.18 has 64.
const FEATURES_MAX: u32 = 4096;

/// `struct ifreq` with `ifr_data`.
#[repr(C)]
struct IfReqData {
    name: [u8; 16],
    data: *mut u32,
    rest: [u8; 16],
}

/// The names of the enabled features, as `ethtool -k` prints them. `socket` is any socket in the
/// namespace of the link.
pub(crate) fn active_features(socket: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<String>> {
    let count = count(socket, name)?;
    let words = usize::try_from(count).unwrap_or(0);
    // | cmd | string_set | len | len names of 32 bytes |
    // The kernel ignores `len` and writes all its names: `count` is theirs, never a smaller number.
    let mut strings = vec![0; 3 + words * NAME_WORDS];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count]);
    ethtool(socket, name, &mut strings)?;
    // | cmd | size | size blocks of: available, requested, active, never_changed |
    let blocks = count.div_ceil(32);
    let mut features = vec![0; 2 + words.div_ceil(32) * 4];
    features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks]);
    ethtool(socket, name, &mut features)?;
    let is_on = |at: usize| features[2 + at / 32 * 4 + 2] & (1 << (at % 32)) != 0;
    let named = strings[3..].chunks_exact(NAME_WORDS).enumerate();
    Ok(named.filter(|&(at, _)| is_on(at)).map(|(_, words)| text(words)).collect())
}

/// How many queues are attached to a TUN or TAP device that can have one only; `None` for other links.
///
/// # Errors
/// EOPNOTSUPP on an older kernel, ENODEV.
pub(crate) fn single_queue(socket: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<u32>> {
    // | cmd | most for rx | for tx | other | combined | present ones for rx | for tx | other | combined |
    let mut channels = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    ethtool(socket, name, &mut channels)?;
    Ok((channels[4] == 1).then_some(channels[8]))
}

/// How many features the kernel has: a constant of the running kernel (`NETDEV_FEATURE_COUNT`).
///
/// # Errors
/// EOVERFLOW above [`FEATURES_MAX`]: a smaller number must not be given to GSTRINGS.
fn count(socket: BorrowedFd<'_>, name: &[u8]) -> io::Result<u32> {
    // | cmd | reserved | mask of sets, 64 bits | count of each set in the mask |
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    let mask = (1_u64 << ETH_SS_FEATURES).to_ne_bytes();
    for (word, bytes) in info[2..4].iter_mut().zip(mask.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    ethtool(socket, name, &mut info)?;
    checked(info[4])
}

fn checked(count: u32) -> io::Result<u32> {
    if count > FEATURES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    Ok(count)
}

/// A NUL-terminated name from words.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// SIOCETHTOOL: `data` begins with the command and has the room that the command requires.
fn ethtool(socket: BorrowedFd<'_>, name: &[u8], data: &mut [u32]) -> io::Result<()> {
    let mut request = IfReqData { name: [0; 16], data: data.as_mut_ptr(), rest: [0; 16] };
    request.name[..name.len()].copy_from_slice(name);
    // SAFETY: the kernel writes the head of `data` and what follows it: for GSSET_INFO one word a bit
    // of the mask, for GFEATURES at most the blocks that the head announces, for GSTRINGS all its
    // names, whose number GSSET_INFO gave unchanged, for GCHANNELS nine words. Our callers size `data` by that. The
    // request and `data` outlive the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_names_than_there_is_room_for_are_refused_and_not_cut() {
        assert_eq!(checked(64).unwrap(), 64);
        assert_eq!(checked(513).unwrap(), 513, "the buffer follows the kernel's number");
        assert_eq!(checked(4097).unwrap_err().raw_os_error(), Some(libc::EOVERFLOW));
    }
}
