//! `cargo xtask demo`: the clinic as replicas on real servers, and a page to break it.

use crate::run::{cargo, loudly};
use crate::{Result, install, workspace};

struct Options {
    replicas: usize,
    listen: String,
}

pub(crate) fn demo(args: &[&str]) -> Result {
    let options = options(args)?;
    install::ensure(&install::SERVERS)?;
    loudly(&mut cargo(["build", "--package", "clinic", "--features", "replicas"]))?;
    let clinic = workspace::target().join("debug/clinic");
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let demo = clinic_fleet::demo(&clinic, options.replicas, &options.listen, |line| println!("{line}"));
    runtime.block_on(demo).map_err(|error| error.to_string())
}

fn options(args: &[&str]) -> Result<Options> {
    let mut options = Options { replicas: 3, listen: "127.0.0.1:8080".to_owned() };
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match *name {
            "--replicas" => match value.parse() {
                Ok(replicas @ 1..=9) => options.replicas = replicas,
                _ => return Err("--replicas is 1 to 9".to_owned()),
            },
            "--listen" => (*value).clone_into(&mut options.listen),
            _ => return Err(format!("demo takes --replicas and --listen, not {name}")),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_mistakes_are_named() {
        let read = options(&["--replicas", "5"]).unwrap();
        assert_eq!((read.replicas, read.listen.as_str()), (5, "127.0.0.1:8080"));
        for (args, named) in
            [(&["--replicas"][..], "--replicas"), (&["--replicas", "0"], "1 to 9"), (&["--x", "1"], "--x")]
        {
            assert!(options(args).err().unwrap().contains(named));
        }
    }
}
