//! How the states of this crate are written down: each value as its fields in their order, numbers big-endian, each variant
//! of an enum behind a byte that names it.
//!
//! [`fields`] and [`variants`] write both directions from one list, which the compiler checks against the type: a field that
//! is added is in both or does not compile.

use crate::inline::Inline;

/// Room for the longest state.
pub(crate) const LONGEST: usize = 1024;

/// A state that is written.
pub(crate) type Out = Inline<LONGEST>;

/// What can be written down and read back.
pub(crate) trait Field: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Out);

    /// Takes the value from the front of `input`; `None` if what stands there is none.
    fn get(input: &mut &[u8]) -> Option<Self>;
}

/// Takes `N` bytes.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*bytes)
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(
            impl Field for $type {
                fn put(&self, out: &mut Out) {
                    out.extend(&self.to_be_bytes());
                }

                fn get(input: &mut &[u8]) -> Option<Self> {
                    take(input).map(<$type>::from_be_bytes)
                }
            }
        )*
    };
}

numbers!(u8 u16 u32 u64);

impl Field for usize {
    fn put(&self, out: &mut Out) {
        (*self as u64).put(out);
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        usize::try_from(u64::get(input)?).ok()
    }
}

impl Field for bool {
    fn put(&self, out: &mut Out) {
        u8::from(*self).put(out);
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        match u8::get(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Out) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        if bool::get(input)? { T::get(input).map(Some) } else { Some(None) }
    }
}

impl Field for [u8; 3] {
    fn put(&self, out: &mut Out) {
        out.extend(self);
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        take(input)
    }
}

impl<const N: usize> Field for Inline<N> {
    fn put(&self, out: &mut Out) {
        (self.len() as u16).put(out);
        out.extend(self.as_slice());
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        let len = usize::from(u16::get(input)?);
        let (bytes, rest) = input.split_at_checked(len).filter(|_| len <= N)?;
        *input = rest;
        let mut inline = Inline::new();
        inline.extend(bytes);
        Some(inline)
    }
}

/// A struct by its fields.
macro_rules! fields {
    ($name:ident { $($field:ident),* }) => {
        impl $crate::state::Field for $name {
            fn put(&self, out: &mut $crate::state::Out) {
                $( $crate::state::Field::put(&self.$field, out); )*
            }

            fn get(input: &mut &[u8]) -> Option<Self> {
                $( let $field = $crate::state::Field::get(input)?; )*
                Some($name { $($field),* })
            }
        }
    };
    // A struct around one value.
    ($name:ident ($value:ident)) => {
        impl $crate::state::Field for $name {
            fn put(&self, out: &mut $crate::state::Out) {
                $crate::state::Field::put(&self.0, out);
            }

            fn get(input: &mut &[u8]) -> Option<Self> {
                $crate::state::Field::get(input).map($name)
            }
        }
    };
}

/// An enum by the numbers of its variants and their fields.
macro_rules! variants {
    ($name:ident { $($tag:literal => $variant:ident $(($value:ident))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::state::Field for $name {
            fn put(&self, out: &mut $crate::state::Out) {
                match self {
                    $( $name::$variant $(($value))? $({ $($field),* })? => {
                        out.extend(&[$tag]);
                        $( $crate::state::Field::put($value, out); )?
                        $( $( $crate::state::Field::put($field, out); )* )?
                    } )*
                }
            }

            fn get(input: &mut &[u8]) -> Option<Self> {
                match <u8 as $crate::state::Field>::get(input)? {
                    $( $tag => {
                        $( let $value = $crate::state::Field::get(input)?; )?
                        $( $( let $field = $crate::state::Field::get(input)?; )* )?
                        Some($name::$variant $(($value))? $({ $($field),* })?)
                    } )*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {fields, variants};
