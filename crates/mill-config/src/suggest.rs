//! The known name nearest to a mistyped one.

/// Names longer than this are not compared: the comparison is quadratic and no name of ours is near.
const MAX_LEN: usize = 64;

/// The candidate with the fewest edits to `name`, if a third of the letters or fewer differ.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_LEN {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    distances.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, nearest)| nearest)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("listen", "lisen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn suggests_only_what_is_near() {
        let names = ["listen", "pid", "gop_cache", "daemon"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("gopcache", names), Some("gop_cache"));
        assert_eq!(nearest("zzz", names), None);
        assert_eq!(nearest(&"listen".repeat(1000), names), None);
    }
}
