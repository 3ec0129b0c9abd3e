//! The fold of layers, and the macro that writes every section twice: as a result without options, and as a layer with
//! nothing but options.

use std::ops::Range;

use crate::key::Key;

/// A value of a layer that is not legal.
#[derive(Debug)]
pub(crate) struct Illegal {
    pub(crate) key: Key,
    /// Bytes of the layer's text.
    pub(crate) span: Range<usize>,
}

/// Writes the result and the layer of every section, `SearchConfig`, `Layer` and the fold.
macro_rules! sections {
    ($(
        $(#[$section_doc:meta])*
        $section:ident: $config:ident / $layer:ident {
            $(
                $(#[$doc:meta])*
                $field:ident: $type:ty = $rule:ident $(($($bound:expr),*))?,
            )*
        }
    )*) => {
        $(
            $(#[$section_doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $config {
                $($(#[$doc])* pub $field: $type,)*
            }

            #[derive(Debug, Default, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub(crate) struct $layer {
                $($field: Option<Spanned<$type>>,)*
            }
        )*

        /// How a search is run, every value settled.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct SearchConfig {
            $($(#[$section_doc])* pub $section: $config,)*
        }

        /// What one source says.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Layer {
            $($section: $layer,)*
        }

        impl Layer {
            /// Every key with its rule.
            pub(crate) fn keys() -> Vec<Key> {
                vec![$($(
                    Key {
                        section: stringify!($section),
                        name: stringify!($field),
                        rule: Rule::$rule $(($($bound),*))?,
                    },
                )*)*]
            }

            /// The first value that its rule forbids.
            pub(crate) fn first_illegal(&self) -> Option<Illegal> {
                let mut keys = Self::keys().into_iter();
                $($(
                    let key = keys.next()?;
                    if let Some(value) = &self.$section.$field
                        && !value.get_ref().is_legal(&key.rule)
                    {
                        return Some(Illegal { key, span: value.span() });
                    }
                )*)*
                None
            }

            /// Lays another layer over this one and notes where each value comes from.
            pub(crate) fn overwrite(
                &mut self,
                over: Self,
                origin: &Origin,
                origins: &mut BTreeMap<String, Origin>,
            ) {
                $($(
                    if let Some(value) = over.$section.$field {
                        self.$section.$field = Some(value);
                        let path = concat!(stringify!($section), ".", stringify!($field));
                        origins.insert(path.to_owned(), origin.clone());
                    }
                )*)*
            }

            /// The result; otherwise the first key that no layer has a value for.
            pub(crate) fn finish(self) -> Result<SearchConfig, &'static str> {
                Ok(SearchConfig {
                    $($section: $config {
                        $($field: self.$section.$field
                            .ok_or(concat!(stringify!($section), ".", stringify!($field)))?
                            .into_inner(),)*
                    },)*
                })
            }
        }
    };
}

pub(crate) use sections;
