//! How far apart two spellings are.

/// The least number of letters to insert, remove or replace, or of neighbours to swap, to make one text the other, if it
/// is at most `most`. A swapped pair is not edited again. In code points.
///
/// Only the cells of the table that can lead to so few edits are computed: the time grows with the shorter text.
pub(crate) fn edit_distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let far = most + 1;
    let mut before = vec![far; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).map(|at| at.min(far)).collect();
    let mut row = vec![far; b.len() + 1];
    for i in 1..=a.len() {
        let (from, to) = (i.saturating_sub(most).max(1), (i + most).min(b.len()));
        row.fill(far);
        row[0] = i.min(far);
        for j in from..=to {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1).min(far);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row[from - 1..=to].iter().all(|edits| *edits == far) && i > 1 && last.iter().all(|edits| *edits == far) {
            return None;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    Some(last[b.len()]).filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::edit_distance;

    fn of(a: &str, b: &str, most: usize) -> Option<usize> {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        edit_distance(&a, &b, most)
    }

    #[test]
    fn edits_are_counted_once() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("hart", "heart", 1),
            ("atack", "attack", 1),
            ("form", "from", 1),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ];
        for (a, b, distance) in table {
            for most in 0..5 {
                let expected = (distance <= most).then_some(distance);
                assert_eq!(of(a, b, most), expected, "{a} {b} {most}");
                assert_eq!(of(b, a, most), expected, "{b} {a} {most}");
            }
        }
    }

    /// The whole table, as a check of what is left out.
    fn plain(a: &[char], b: &[char]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                let mut best = if i == 0 || j == 0 { i + j } else { usize::MAX };
                if i > 0 && j > 0 {
                    let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                }
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                table[i][j] = best;
            }
        }
        table[a.len()][b.len()]
    }

    #[test]
    fn what_is_left_out_of_the_table_never_matters() {
        let mut state = 7_u64;
        let mut word = || -> Vec<char> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 60
            };
            (0..next() % 8).map(|_| if next() % 2 == 0 { 'a' } else { 'b' }).collect()
        };
        for _ in 0..20_000 {
            let (a, b) = (word(), word());
            let distance = plain(&a, &b);
            for most in 0..=2 {
                assert_eq!(edit_distance(&a, &b, most), (distance <= most).then_some(distance), "{a:?} {b:?}");
            }
        }
    }
}
