/// The digest of a namespace and a key.
pub(super) type Digest = [u8; 32];

/// Where a record stands. It is part of its checksums, so that bytes that came to stand elsewhere are not taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) segment: u32,
    pub(super) at: u32,
}

/// What the bytes at a spot are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A record; `until` is when it expires, in milliseconds since 1970.
    Live { digest: Digest, until: i64 },
    /// One that was removed or replaced.
    Dead,
    /// Something else.
    Damaged,
}

/// A record on disk, all numbers little-endian:
///
/// ```text
///  0  u32  bytes of the body
///  4  u32  CRC-32 of the spot and the field above, so that the next record is found although this one is damaged
///  8  u32  CRC-32 of the spot and all below
/// 12  32   digest of namespace and key
/// 44  i64  when it expires; the greatest number for never
/// 52       body: `Stored::encode`
/// ```
///
/// One that is removed has noughts from 8 to 44: far enough from any other record that no damage makes it one again.
pub(super) const HEADER: usize = 52;

/// What is overwritten with noughts when a record is removed.
pub(super) const MORTAL: std::ops::Range<usize> = 8..44;

/// Fills in the header of a record whose first [`HEADER`] bytes are noughts. `None` for a body of 4 GiB.
pub(super) fn seal(record: &mut [u8], spot: Spot, digest: &Digest, until: i64) -> Option<()> {
    let body = u32::try_from(record.len().checked_sub(HEADER)?).ok()?;
    record[..4].copy_from_slice(&body.to_le_bytes());
    let frame = checksum(spot, &record[..4]);
    record[4..8].copy_from_slice(&frame.to_le_bytes());
    record[12..44].copy_from_slice(digest);
    record[44..52].copy_from_slice(&until.to_le_bytes());
    let check = checksum(spot, &record[12..]);
    record[8..12].copy_from_slice(&check.to_le_bytes());
    Some(())
}

/// How many bytes the record has whose header this is; `None` where there is none.
pub(super) fn bytes(header: &[u8; HEADER], spot: Spot) -> Option<u32> {
    let (body, frame) = (word(header, 0), word(header, 4));
    if checksum(spot, &header[..4]) != frame {
        return None;
    }
    body.checked_add(u32::try_from(HEADER).ok()?)
}

/// Says what a record of the right length is.
pub(super) fn read(record: &[u8], spot: Spot) -> Reading {
    let Some(header) = record.first_chunk::<HEADER>() else { return Reading::Damaged };
    if bytes(header, spot).is_none_or(|bytes| bytes as usize != record.len()) {
        return Reading::Damaged;
    }
    if header[MORTAL].iter().all(|&byte| byte == 0) {
        return Reading::Dead;
    }
    if checksum(spot, &record[12..]) != word(header, 8) {
        return Reading::Damaged;
    }
    let (mut digest, mut until) = ([0; 32], [0; 8]);
    digest.copy_from_slice(&header[12..44]);
    until.copy_from_slice(&header[44..52]);
    Reading::Live { digest, until: i64::from_le_bytes(until) }
}

fn word(header: &[u8; HEADER], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(word)
}

fn checksum(spot: Spot, bytes: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&spot.segment.to_le_bytes());
    checksum.update(&spot.at.to_le_bytes());
    checksum.update(bytes);
    checksum.finalize()
}
