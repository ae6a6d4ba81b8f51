//! How many random cases a test of any crate runs.

use proptest::prelude::ProptestConfig;

/// So many cases; more of them in proportion if `PROPTEST_CASES` asks for more than the usual 256.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let times = (ProptestConfig::default().cases / 256).max(1);
    ProptestConfig::with_cases(count.saturating_mul(times))
}
