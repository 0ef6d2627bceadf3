//! The names of visible result files, `part-<job>-<subtask>-<epoch>-<roll>.csv`, parsed independently, as documented.

/// The fields of such a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    /// The number of the job, 16 hexadecimal digits.
    pub(crate) job: String,
    pub(crate) subtask: u64,
    /// The checkpoint that ends the epoch.
    pub(crate) epoch: u64,
    /// The number of the file within the epoch.
    pub(crate) roll: u64,
}

impl PartName {
    /// Parses the name of a file, without its folder.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("part-")?.strip_suffix(".csv")?.split('-');
        let job = parts.next().filter(|job| job.len() == 16 && job.bytes().all(|digit| digit.is_ascii_hexdigit()))?.to_owned();
        let mut number = || parts.next().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok();
        let (subtask, epoch, roll) = (number()?, number()?, number()?);
        parts.next().is_none().then_some(Self { job, subtask, epoch, roll })
    }

    /// The names of visible files anywhere in `bytes`, for instance in a transaction. A hidden name has one number more.
    pub(crate) fn all_in(bytes: &[u8]) -> Vec<String> {
        let mut names = vec![];
        for (start, _) in bytes.windows(5).enumerate().filter(|(_, window)| *window == b"part-") {
            let rest = &bytes[start..];
            let of_name = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'p' | b'r' | b't');
            let stem = rest.iter().take_while(|byte| of_name(byte)).count();
            if !rest[stem..].starts_with(b".csv") {
                continue;
            }
            let name = String::from_utf8_lossy(&rest[..stem + 4]).into_owned();
            if Self::parse(&name).is_some() {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_names_are_found_among_hidden_ones() {
        let bytes =
            b"\0.part-0000000000000abc-3-7-1-2.csv.inprogresspart-0000000000000abc-3-7-1.csv.part-0000000000000abc-3-7-2-2.csv.inprogress";
        assert_eq!(PartName::all_in(bytes), ["part-0000000000000abc-3-7-1.csv"]);
        let part = PartName::parse("part-0000000000000abc-3-7-1.csv");
        assert_eq!(part.map(|part| (part.subtask, part.epoch, part.roll)), Some((3, 7, 1)));
        assert_eq!(PartName::parse("part-0-0.csv"), None);
    }
}
