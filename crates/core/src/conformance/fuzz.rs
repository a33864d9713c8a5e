//! Parsers of bytes that anybody may have written, under inputs that nobody would write.
//!
//! A target is a test. It holds a few well-formed inputs as files, and says how a changed one is made well-formed again (a
//! checksum, a length), so that changes reach what is behind that. An input that fails is kept beside the others: from then
//! on every run replays it.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs unless the environment says otherwise: few, since it is one test among others.
const RUNS: u64 = 4_000;
/// The most inputs that are changed further because something new came of them.
const KEPT: usize = 512;
const LONGEST: usize = 1 << 16;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 14] =
    [0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// A parser, and what is known of its inputs.
///
/// ```no_run
/// use statehouse_core::conformance::fuzz::Target;
///
/// let target = Target::new("fuzz/url").with_words(&["redis://", "?timeout="]);
/// # let _ = target;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Target<'a> {
    corpus: PathBuf,
    words: &'a [&'a str],
}

impl<'a> Target<'a> {
    /// The target with its well-formed inputs in the files of this folder.
    #[must_use]
    pub fn new(corpus: impl Into<PathBuf>) -> Self {
        Self { corpus: corpus.into(), words: &[] }
    }

    /// Words that mean something to the parser.
    #[must_use]
    pub fn with_words(mut self, words: &'a [&'a str]) -> Self {
        self.words = words;
        self
    }

    /// Calls `check` with every input of the corpus and then with changed ones, half of them after `repair`. Its answer
    /// names what came of an input; one with a new answer is changed further.
    ///
    /// `STATEHOUSE_FUZZ_SECONDS` or `STATEHOUSE_FUZZ_RUNS` say for how long, `STATEHOUSE_FUZZ_SEED` with which changes.
    ///
    /// # Panics
    /// When `check` does, after the input was written to the corpus; and if the corpus is empty or cannot be read.
    pub fn run(&self, repair: impl Fn(&mut Vec<u8>), check: impl Fn(&[u8]) -> String) {
        let seed = number("SEED").unwrap_or_else(seed);
        let mut pool = read(&self.corpus);
        assert!(!pool.is_empty(), "{} holds no inputs", self.corpus.display());
        let mut answers: HashSet<_> = pool.iter().map(|input| self.one(input, seed, &check)).collect();
        let mut random = Random(seed);
        let limit = Limit::new();
        let mut runs = 0;
        while limit.allows(runs) {
            let mut input = random.pick(&pool).clone();
            for _ in 0..=random.below(3) {
                self.change(&mut input, &pool, &mut random);
            }
            input.truncate(LONGEST);
            if random.below(2) == 0 {
                repair(&mut input);
            }
            if answers.insert(self.one(&input, seed, &check)) && pool.len() < KEPT {
                pool.push(input);
            }
            runs += 1;
        }
        report(&self.corpus, runs, answers.len());
    }

    fn one(&self, input: &[u8], seed: u64, check: &impl Fn(&[u8]) -> String) -> String {
        catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|cause| {
            let kept = self.corpus.join(format!("found-{:016x}", hash(input)));
            let written = fs::write(&kept, input);
            report_failure(&kept, written.is_ok(), seed);
            resume_unwind(cause)
        })
    }

    fn change(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
        let at = random.below(input.len() + 1);
        let some = at..(at + random.below(17)).min(input.len());
        match random.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.byte();
                }
            }
            2 => drop(input.drain(some)),
            3 => {
                let twice = input[some].to_vec();
                insert(input, at, &twice);
            }
            4 => input.truncate(at),
            5 => {
                let other = random.pick(pool);
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => insert(input, at, &vec![random.byte(); 1 + random.below(64)]),
            7 if !self.words.is_empty() => insert(input, at, random.pick(self.words).as_bytes()),
            _ => overwrite(input, at, random),
        }
    }
}

/// Makes the lengths and both checksums of an [`Envelope`](crate::Envelope) right.
pub fn seal_envelope(input: &mut Vec<u8>) {
    input.resize(input.len().max(56), 0);
    input[..3].copy_from_slice(b"SH\x01");
    let room = u16::try_from((input.len() - 56) / 16).unwrap_or(u16::MAX);
    let generations = u16::from_le_bytes([input[10], input[11]]).min(room);
    input[10..12].copy_from_slice(&generations.to_le_bytes());
    let payload = input.len() - 56 - 16 * usize::from(generations);
    input[12..16].copy_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes());
    let (a, b) = input[16..48].iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    input[48..52].copy_from_slice(&(b << 16 | a).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&input[..16]);
    crc.update(&input[56..]);
    let crc = crc.finalize().to_le_bytes();
    input[52..56].copy_from_slice(&crc);
}

/// Closes what is open in JSON, so that one that breaks off is read to its end.
pub fn close_json(input: &mut Vec<u8>) {
    let (mut open, mut text, mut escaped) = (Vec::new(), false, false);
    for byte in input.iter() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' if !text => open.push(b'}'),
            b'[' if !text => open.push(b']'),
            b'}' | b']' if !text => drop(open.pop()),
            _ => {}
        }
    }
    if text {
        input.push(b'"');
    }
    while matches!(input.last(), Some(b',' | b':')) {
        input.pop();
    }
    input.extend(open.into_iter().rev());
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// A number of 1 to 8 bytes, either way round, or in decimal digits.
fn overwrite(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let edge = random.pick(&EDGES).wrapping_add(random.below(3) as u64).wrapping_sub(1);
    let width = 1 << random.below(4);
    let bytes = match random.below(3) {
        0 => edge.to_le_bytes()[..width].to_vec(),
        1 => edge.to_be_bytes()[8 - width..].to_vec(),
        _ => edge.to_string().into_bytes(),
    };
    let end = (at + bytes.len()).min(input.len());
    input.splice(at..end, bytes);
}

fn read(corpus: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // The same in each run with the same seed.
    files.sort();
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}

/// How long a run goes on.
struct Limit {
    runs: u64,
    until: Option<Instant>,
}

impl Limit {
    fn new() -> Self {
        let until = number("SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let runs = number("RUNS").unwrap_or(if until.is_some() { u64::MAX } else { RUNS });
        Self { runs, until }
    }

    fn allows(&self, runs: u64) -> bool {
        runs < self.runs && (!runs.is_multiple_of(256) || self.until.is_none_or(|until| Instant::now() < until))
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(format!("STATEHOUSE_FUZZ_{name}")).ok()?.parse().ok()
}

fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| hash(&time.as_nanos().to_le_bytes()))
}

#[expect(clippy::print_stdout, reason = "the figure of a test")]
fn report(corpus: &Path, runs: u64, answers: usize) {
    let name = corpus.file_name().unwrap_or_default().to_string_lossy();
    println!("figure: fuzz {name}: {runs} runs, {answers} different outcomes");
}

#[expect(clippy::print_stderr, reason = "what failed, beside the panic of the check")]
fn report_failure(kept: &Path, written: bool, seed: u64) {
    let place = if written { "is kept in" } else { "could not be written to" };
    eprintln!("the input {place} {}; STATEHOUSE_FUZZ_SEED={seed}", kept.display());
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A length, that many bytes, and their sum.
    fn parse(input: &[u8]) -> Result<&[u8], &'static str> {
        let (length, rest) = input.split_first().ok_or("empty")?;
        let (sum, body) = rest.split_last().ok_or("short")?;
        if body.len() != usize::from(*length) {
            return Err("length");
        }
        if body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) != *sum {
            return Err("sum");
        }
        Ok(body)
    }

    fn repair(input: &mut Vec<u8>) {
        input.resize(input.len().clamp(2, 200), 0);
        let last = input.len() - 1;
        input[0] = u8::try_from(last - 1).unwrap();
        input[last] = input[1..last].iter().fold(0, |sum, byte| sum.wrapping_add(*byte));
    }

    fn corpus(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("statehouse-fuzz-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("one"), [3, b'a', b'b', b'c', 38]).unwrap();
        folder
    }

    #[test]
    fn changes_reach_what_is_behind_a_checksum() {
        let folder = corpus("reach");
        let (deep, all) = (Cell::new(0), Cell::new(0));
        Target::new(&folder).with_words(&["abc"]).run(repair, |input| {
            all.set(all.get() + 1);
            match parse(input) {
                Ok(body) => {
                    deep.set(deep.get() + 1);
                    format!("{}", body.len())
                }
                Err(error) => error.to_owned(),
            }
        });
        fs::remove_dir_all(folder).unwrap();
        assert!(deep.get() * 4 > all.get(), "{} of {}", deep.get(), all.get());
    }

    #[test]
    fn json_that_breaks_off_is_closed() {
        for (broken, whole) in [
            ("{\"a\":[1,{\"b\":\"x\\\"{", "{\"a\":[1,{\"b\":\"x\\\"{\"}]}"),
            ("[[1,", "[[1]]"),
            ("{\"a\":{}}", "{\"a\":{}}"),
        ] {
            let mut input = broken.as_bytes().to_vec();
            close_json(&mut input);
            assert_eq!(String::from_utf8(input).unwrap(), whole);
        }
    }

    #[test]
    fn an_input_that_fails_is_kept_and_replayed() {
        let folder = corpus("kept");
        let fails = |input: &[u8]| {
            assert!(parse(input).map_or(0, <[u8]>::len) < 9, "too long for it");
            String::new()
        };
        let run = || Target::new(&folder).run(repair, fails);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        let found = read(&folder).into_iter().find(|input| parse(input).is_ok_and(|body| body.len() >= 9));
        assert!(found.is_some(), "the input is beside the others");
        fs::remove_dir_all(folder).unwrap();
    }
}
