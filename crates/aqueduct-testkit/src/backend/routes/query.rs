/// The part of an address behind the `?`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(query: &'a str) -> Self {
        Self(query)
    }

    /// The first value of a name, decoded.
    pub(super) fn get(self, name: &str) -> Option<String> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)?;
        Some(decoded(&value.replace('+', " ")))
    }

    /// A number, its default when it is not there, or what is wrong with it.
    pub(super) fn number(self, name: &str, default: u64, max: u64) -> Result<u64, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if number <= max => Ok(number),
                _ => Err(format!("{name} is {text:?}, allowed is a number up to {max}")),
            },
        }
    }
}

/// Text of an address without its `%XX`. What is not UTF-8 then is replaced.
pub(super) fn decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let coded = digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(coded.unwrap_or(*byte));
        rest = if coded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_coded_is_decoded_and_nothing_else() {
        for (coded, plain) in
            [("a%20b", "a b"), ("%C3%A4", "ä"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("a+b", "a+b")]
        {
            assert_eq!(decoded(coded), plain);
        }
        assert_eq!(Query::of("a=1&b=x+y%26z").get("b").as_deref(), Some("x y&z"));
        assert_eq!(Query::of("a=1").get("b"), None);
    }
}
