//! What somebody may have meant.

/// The one of `known` that is nearest to `word`, if any is near enough to be meant: at most a third of
/// the letters differ, two neighbours swapped counting once, and upper case not at all.
///
/// Of several that are equally near, the first is taken.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word of which everything may differ is no typing mistake; longer than any key is none either.
    let len = word.chars().count();
    if len > WORD_LEN_MAX {
        return None;
    }
    let word = folded(word);
    let near = known.into_iter().filter_map(|candidate| {
        let longest = len.max(candidate.chars().count());
        let distance = strsim::osa_distance(&word, &folded(candidate));
        (distance <= longest.div_ceil(3) && distance < longest).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Far beyond every key: the time to compare grows with the square.
const WORD_LEN_MAX: usize = 64;

/// Without what is often confused: case, `-` and `_`.
fn folded(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["vlan", "pvid", "trunk", "guard-mac", "netem", "isolated"];
        let found = |word| nearest(word, known);
        assert_eq!(found("vlna"), Some("vlan"));
        assert_eq!(found("pvd"), Some("pvid"));
        assert_eq!(found("Guard_MAC"), Some("guard-mac"));
        assert_eq!(found("isolate"), Some("isolated"));
        assert_eq!(found("trnuk"), Some("trunk"));
        assert_eq!(found("colour"), None);
        assert_eq!(found(""), None);
        assert_eq!(found(&"v".repeat(1 << 20)), None);
    }
}
