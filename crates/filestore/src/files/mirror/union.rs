use std::cmp::Ordering;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Peekable, try_unfold};
use statehouse_core::Result;

type Names<'a> = BoxStream<'a, Result<String>>;
type Ahead<'a> = Peekable<Names<'a>>;

/// The names of both, each once, in their order.
pub(super) fn union<'a>(one: Names<'a>, other: Names<'a>) -> Names<'a> {
    try_unfold((one.peekable(), other.peekable()), next).boxed()
}

async fn next<'a>((mut one, mut other): (Ahead<'a>, Ahead<'a>)) -> Result<Option<(String, (Ahead<'a>, Ahead<'a>))>> {
    let first = match (Pin::new(&mut one).peek().await, Pin::new(&mut other).peek().await) {
        (Some(Ok(one)), Some(Ok(other))) => one.cmp(other),
        // An error comes before all names.
        (Some(Err(_)), _) | (_, None) => Ordering::Less,
        (_, Some(_)) => Ordering::Greater,
    };
    let name = match first {
        Ordering::Less => one.next().await,
        Ordering::Greater => other.next().await,
        Ordering::Equal => one.next().await.and(other.next().await),
    };
    Ok(name.transpose()?.map(|name| (name, (one, other))))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use statehouse_core::{Error, ErrorKind};

    use super::*;

    fn names(names: &[&str]) -> Names<'static> {
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        let name = |name: String| match name.as_str() {
            "!" => Err(Error::new(ErrorKind::Unavailable, "away")),
            _ => Ok(name),
        };
        futures_util::stream::iter(names.into_iter().map(name)).boxed()
    }

    #[tokio::test]
    async fn the_names_of_two_listings_are_one_in_order_and_an_error_of_either_ends_it() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &[]),
            (&["a", "b"], &[], &["a", "b"]),
            (&[], &["a", "b"], &["a", "b"]),
            (&["a", "c", "d"], &["b", "c", "e", "f"], &["a", "b", "c", "d", "e", "f"]),
        ];
        for (one, other, expected) in cases {
            let all: Vec<_> = union(names(one), names(other)).try_collect().await.unwrap();
            assert_eq!(all, expected);
        }
        for (one, other) in [(&["a", "!"][..], &["b"][..]), (&["b"], &["a", "!"]), (&["a"], &["a", "!"])] {
            let mut both = union(names(one), names(other));
            assert_eq!(both.next().await.unwrap().unwrap(), "a");
            let failed = both.try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Unavailable);
        }
    }
}
