//! VLANs: which frames a port takes, to which VLAN they belong, and how they leave.

use alloc::boxed::Box;
use core::fmt;

/// The number of a VLAN, 1 to 4094 (0 is a priority tag without a VLAN, 4095 is reserved).
///
/// Source: IEEE 802.1Q, table 9-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The first VLAN.
    pub const MIN: Self = Self(1);
    /// The last VLAN.
    pub const MAX: Self = Self(4094);

    /// The VLAN of that number; `None` for 0 and above [`Self::MAX`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number >= Self::MIN.0 && number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number, 1 to 4094.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of VLANs.
///
/// ```
/// use adit_engine::switch::{VlanId, VlanSet};
///
/// let ten = VlanId::new(10).expect("between 1 and 4094");
/// let mut set = VlanSet::default();
/// set.insert(ten);
/// assert!(set.contains(ten) && !set.contains(VlanId::MIN));
/// assert_eq!(VlanSet::all().iter().count(), 4094);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet {
    /// One bit a number, 0 to 4095; those of 0 and 4095 are never set.
    bits: Box<[u64; VlanSet::WORDS]>,
}

impl VlanSet {
    const WORDS: usize = 64;

    /// Every VLAN.
    #[must_use]
    pub fn all() -> Self {
        (VlanId::MIN.0..=VlanId::MAX.0).filter_map(VlanId::new).collect()
    }

    /// Adds a VLAN.
    pub fn insert(&mut self, vlan: VlanId) {
        if let Some(word) = self.bits.get_mut(usize::from(vlan.0 / 64)) {
            *word |= 1 << (vlan.0 % 64);
        }
    }

    /// Takes a VLAN out.
    pub fn remove(&mut self, vlan: VlanId) {
        if let Some(word) = self.bits.get_mut(usize::from(vlan.0 / 64)) {
            *word &= !(1 << (vlan.0 % 64));
        }
    }

    /// Whether a VLAN is in it.
    #[must_use]
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.has(vlan.0)
    }

    /// The VLANs in it, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (VlanId::MIN.0..=VlanId::MAX.0).filter(|&number| self.has(number)).map(VlanId)
    }

    /// Whether there is none in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&word| word == 0)
    }

    /// The same for a number that may be 0.
    pub(super) fn has(&self, number: u16) -> bool {
        self.bits.get(usize::from(number / 64)).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}

impl Default for VlanSet {
    fn default() -> Self {
        Self { bits: Box::new([0; Self::WORDS]) }
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        let mut set = Self::default();
        vlans.into_iter().for_each(|vlan| set.insert(vlan));
        set
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(VlanId::number)).finish()
    }
}
