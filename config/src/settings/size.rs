//! Sizes in bytes that are written and read as text, `"1MiB"`, without losing a byte: for documents that are written
//! out again. [`ByteSize`] itself rounds to what is easy on the eye.

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
pub(crate) fn serialize<S: Serializer>(size: &Option<ByteSize>, to: S) -> Result<S::Ok, S::Error> {
    match size {
        None => to.serialize_none(),
        Some(size) => to.serialize_str(&text(size.as_u64())),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ByteSize>, D::Error> {
    Option::deserialize(from)
}

fn text(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_was_written() {
        for bytes in [0, 1, 1023, 1024, 1_500_000, 1 << 20, 5 << 30, u64::MAX] {
            assert_eq!(text(bytes).parse::<ByteSize>().map(|size| size.as_u64()), Ok(bytes), "{}", text(bytes));
        }
        assert_eq!(text(3 << 20), "3MiB");
    }
}
