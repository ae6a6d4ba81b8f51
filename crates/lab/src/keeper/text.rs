//! Values that are text between the loop and the keeper.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Display;
use std::str::FromStr;

/// A value as it prints.
#[derive(Clone, Copy, Debug)]
struct Text<T>(T);

impl<T: Display> Serialize for Text<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(Error::custom)
    }
}

/// One or more values: what `#[serde(with)]` needs of each kind of field.
macro_rules! with {
    ($module:ident, $type:ty, |$value:ident: $seen:ty| $write:expr, |$text:ident: $texts:ty| $read:expr) => {
        pub(super) mod $module {
            use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, Text};

            pub(in crate::keeper) fn serialize<T: Display, S: Serializer>(
                $value: &$seen,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                $write.serialize(serializer)
            }

            pub(in crate::keeper) fn deserialize<
                'de,
                T: FromStr<Err: Display>,
                D: Deserializer<'de>,
            >(
                deserializer: D,
            ) -> Result<$type, D::Error> {
                <$texts>::deserialize(deserializer).map(|$text| $read)
            }
        }
    };
}

with!(one, T, |value: T| Text(value), |text: Text<T>| text.0);
with!(maybe, Option<T>, |value: Option<T>| value.as_ref().map(Text), |text: Option<Text<T>>| text
    .map(|text| text.0));
with!(list, Vec<T>, |value: [T]| value.iter().map(Text).collect::<Vec<_>>(), |texts: Vec<
    Text<T>,
>| {
    texts.into_iter().map(|text| text.0).collect()
});
