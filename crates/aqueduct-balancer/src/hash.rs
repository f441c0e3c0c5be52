//! The hashes by which keys and names find their places. They are part of the behaviour: another process, or another
//! release, must put a key where this one does, which the hasher of the standard library does not promise.

/// CRC-32 as in zlib (ISO 3309), which nginx takes for its ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    pub(crate) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn update(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            let [low, ..] = crc.to_le_bytes();
            crc >> 8 ^ TABLE[usize::from(low ^ byte)]
        }))
    }

    pub(crate) fn finish(self) -> u32 {
        !self.0
    }
}

/// What a byte does to the state, for each byte; the polynomial with its bits reversed.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// 64 bits of a name or a key: FNV-1a (Fowler, Noll, Vo), whose bits `mix` spreads.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let each = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, each))
}

/// The step of [`mix`] that makes a generator of it: the golden ratio in 64 bits.
pub(crate) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
