//! Which of a cluster's 16,384 slots a key belongs to, and which key routes a command.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>

use redis::{Arg, Cmd};

pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key if it has none.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// What is between the first `{` and the next `}`, if anything is; else the whole key.
pub(crate) fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(close) if close > 0 => &inside[..close],
        _ => key,
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16[usize::from(high ^ byte)]
    })
}

/// The remainder of each byte by the polynomial x¹⁶ + x¹² + x⁵ + 1.
const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// The slot that a command must be sent to, or `None` if any server will do.
pub(crate) fn slot_of_command(command: &Cmd) -> Option<u16> {
    routing_key(command).map(slot_of)
}

/// The first key of a command. The commands of the statehouse services have theirs in the first place, save for
/// those named here.
fn routing_key(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => bytes,
        _ => b"",
    });
    let name = arguments.next()?.to_ascii_uppercase();
    match name.as_slice() {
        b"ACL" | b"AUTH" | b"CLIENT" | b"CLUSTER" | b"COMMAND" | b"CONFIG" | b"DBSIZE" | b"DEBUG" | b"ECHO"
        | b"HELLO" | b"INFO" | b"LATENCY" | b"PING" | b"PUBLISH" | b"ROLE" | b"SCAN" | b"SCRIPT" | b"TIME"
        | b"UNWATCH" | b"WAIT" => None,
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => {
            arguments.nth(1).filter(|count| *count != b"0").and_then(|_| arguments.next())
        }
        b"XREAD" | b"XREADGROUP" => {
            arguments.find(|argument| argument.eq_ignore_ascii_case(b"STREAMS")).and_then(|_| arguments.next())
        }
        b"OBJECT" | b"MEMORY" | b"XGROUP" | b"XINFO" => arguments.nth(1),
        _ => arguments.next(),
    }
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"bar"), 5_061);
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn only_the_first_non_empty_tag_counts() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn a_command_is_routed_by_its_first_key() {
        let key = |command: &Cmd| routing_key(command).map(<[u8]>::to_vec);
        assert_eq!(key(cmd("get").arg("k")), Some(b"k".to_vec()));
        assert_eq!(key(cmd("EVALSHA").arg("sha").arg(2).arg("k").arg("l")), Some(b"k".to_vec()));
        assert_eq!(key(cmd("EVAL").arg("return 1").arg(0).arg("x")), None);
        assert_eq!(key(cmd("XREAD").arg("COUNT").arg(9).arg("streams").arg("s").arg("0")), Some(b"s".to_vec()));
        assert_eq!(key(cmd("XGROUP").arg("CREATE").arg("s").arg("g")), Some(b"s".to_vec()));
        assert_eq!(key(&cmd("PING")), None);
        assert_eq!(key(cmd("CONFIG").arg("GET").arg("maxmemory-policy")), None);
    }
}
