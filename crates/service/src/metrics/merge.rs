//! Pages of OpenMetrics as one: each family once, with the samples of all.

use std::collections::HashMap;

/// The families of several pages, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Merged {
    families: Vec<Family>,
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Family {
    /// The lines of HELP, TYPE and UNIT.
    head: String,
    samples: String,
}

impl Merged {
    /// Adds a page; `false` if it is not whole, or not one. Nothing of it is taken then.
    pub(super) fn add(&mut self, page: &str) -> bool {
        let Some(families) = read(page) else { return false };
        for (name, head, samples) in families {
            let new = |families: &mut Vec<Family>| {
                families.push(Family { head: head.clone(), samples: String::new() });
                families.len() - 1
            };
            let place = *self.places.entry(name).or_insert_with(|| new(&mut self.families));
            let Some(family) = self.families.get_mut(place) else { continue };
            // Another version of adit may have another type for it: samples of both would make the page invalid.
            if kind(&family.head) == kind(&head) {
                family.samples += &samples;
            }
        }
        true
    }

    /// The page.
    pub(super) fn text(&self) -> String {
        let lines = self.families.iter().flat_map(|family| [&*family.head, &*family.samples]);
        lines.chain(["# EOF\n"]).collect()
    }
}

/// The TYPE among the lines of a head.
fn kind(head: &str) -> Option<&str> {
    head.lines().find(|line| line.starts_with("# TYPE "))
}

/// The families of a page: name, head, samples. `None` if it has no end.
fn read(page: &str) -> Option<Vec<(String, String, String)>> {
    let page = page.strip_suffix("# EOF\n")?;
    let mut families: Vec<(String, String, String)> = Vec::new();
    for line in page.split_inclusive('\n') {
        let Some(comment) = line.strip_prefix("# ") else {
            families.last_mut()?.2.push_str(line);
            continue;
        };
        let name = comment.split_ascii_whitespace().nth(1)?;
        match families.last_mut() {
            Some((of, head, _)) if of == name => head.push_str(line),
            _ => families.push((name.to_owned(), line.to_owned(), String::new())),
        }
    }
    Some(families)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "# HELP a What.\n# TYPE a counter\na_total{name=\"x\"} 1\n\
                       # TYPE b gauge\nb{name=\"x\"} 2\n# EOF\n";

    #[test]
    fn samples_of_a_family_are_together() {
        let other = "# TYPE b gauge\nb{name=\"y\"} 3\n# TYPE c gauge\nc 4\n# HELP a Else.\n# TYPE a counter\n\
                     a_total{name=\"y\"} 5\n# EOF\n";
        let mut merged = Merged::default();
        assert!(merged.add(ONE) && merged.add(other));
        let expected = "# HELP a What.\n# TYPE a counter\na_total{name=\"x\"} 1\na_total{name=\"y\"} 5\n\
                        # TYPE b gauge\nb{name=\"x\"} 2\nb{name=\"y\"} 3\n# TYPE c gauge\nc 4\n# EOF\n";
        assert_eq!(merged.text(), expected);
    }

    #[test]
    fn a_page_that_is_not_whole_is_left_out() {
        let mut merged = Merged::default();
        for part in (0..ONE.len()).filter_map(|end| ONE.get(..end)) {
            assert!(!merged.add(part), "{part}");
        }
        assert!(!merged.add("sample 1\n# EOF\n") && !merged.add("# \n# EOF\n"));
        assert!(merged.add(ONE));
        // The same name with another type.
        assert!(merged.add("# TYPE b counter\nb_total 7\n# EOF\n"));
        assert_eq!(merged.text(), ONE);
    }
}
