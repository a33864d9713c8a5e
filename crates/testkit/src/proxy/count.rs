use std::collections::BTreeMap;

/// What has reached a [`FaultProxy`](super::FaultProxy), whether or not it was passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that clients sent.
    pub bytes_to_server: u64,
    /// Bytes that the server sent.
    pub bytes_to_client: u64,
    /// How often each Redis command or HTTP method was sent, by its name in capitals.
    pub by_command: BTreeMap<String, u64>,
}

impl Counts {
    /// How many Redis commands or HTTP requests were sent.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.by_command.values().sum()
    }

    /// How often the Redis command or HTTP method `name` (in capitals) was sent.
    #[must_use]
    pub fn command(&self, name: &str) -> u64 {
        self.by_command.get(name).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        *self.by_command.entry(name).or_default() += 1;
    }
}

/// Follows a stream of Redis commands, `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, however it is cut into reads.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// Arguments of the current command that are still to come.
    args: u64,
    /// Whether the next argument is the command's name.
    name_next: bool,
    /// A header line or the name, as far as it has come.
    text: Vec<u8>,
    /// Bytes of the current argument, with its line end, that are still to come.
    body: u64,
    body_is_name: bool,
}

impl Commands {
    pub(super) fn feed(&mut self, mut bytes: &[u8], counts: &mut Counts) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let length = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
                if self.body_is_name {
                    self.text.extend_from_slice(&bytes[..length]);
                }
                self.body -= length as u64;
                bytes = &bytes[length..];
                if self.body == 0 && self.body_is_name {
                    counts.add(self.text.strip_suffix(b"\r\n").unwrap_or(&self.text));
                    self.text.clear();
                }
            } else {
                let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
                self.text.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end..];
                if self.text.ends_with(b"\n") {
                    self.header();
                    self.text.clear();
                }
            }
        }
    }

    fn header(&mut self) {
        let line = std::str::from_utf8(&self.text).unwrap_or_default().trim_end();
        if let Some(args) = line.strip_prefix('*') {
            self.args = args.parse().unwrap_or_default();
            self.name_next = true;
        } else if let Some(length) = line.strip_prefix('$') {
            self.body = length.parse::<u64>().unwrap_or_default() + 2;
            self.body_is_name = std::mem::take(&mut self.name_next);
            self.args = self.args.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_however_they_are_cut() {
        let stream = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nset\r\n$4\r\n*1\r\n\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n";
        for cut in 1..stream.len() {
            let (mut commands, mut counts) = (Commands::default(), Counts::default());
            for piece in stream.chunks(cut) {
                commands.feed(piece, &mut counts);
            }
            assert_eq!((counts.command("GET"), counts.command("SET"), counts.command("PING")), (1, 1, 1), "cut {cut}");
            assert_eq!(counts.commands(), 3);
        }
    }
}
