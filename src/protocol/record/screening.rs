//! Mask and temperature at a punch. The document does not have them; terminals with a camera for
//! visible light write them behind the seventh field of an attendance row.

use std::fmt;

use super::Invalid;

/// What the terminal saw. `None`: it did not look, or could not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screening {
    /// Whether the person wore a mask.
    pub mask: Option<bool>,
    /// The temperature of the person.
    pub temperature: Option<Temperature>,
}

impl Screening {
    /// 1 with a mask, 0 without, 255 if it is not known.
    pub(crate) fn mask_code(self) -> u8 {
        self.mask.map_or(255, u8::from)
    }

    /// Degrees Celsius, `36.5`; 0 if they are not known.
    pub(crate) fn celsius(self) -> String {
        self.temperature.map_or_else(|| "0".to_owned(), |temperature| temperature.to_string())
    }

    /// Degrees Fahrenheit, `97.7`; 0 if they are not known.
    pub(crate) fn fahrenheit(self) -> String {
        self.temperature
            .map_or_else(|| "0".to_owned(), |temperature| tenths(temperature.fahrenheit()))
    }
}

/// The temperature of a person, in tenths of a degree Celsius.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temperature(u16);

impl Temperature {
    /// The lowest and the highest in tenths of a degree. A person in degrees Fahrenheit is above.
    const RANGE: std::ops::RangeInclusive<u16> = 200..=500;

    /// Checks degrees Celsius, and rounds them to tenths. An error names `field`.
    pub fn new(field: &'static str, degrees: f64) -> Result<Self, Invalid> {
        let tenths = (degrees * 10.0).round();
        // The cast of a number out of range gives the nearest one, and 0 for none at all.
        Self::from_tenths(tenths as u16)
            .filter(|_| tenths >= 0.0)
            .ok_or_else(|| Invalid::new(field, "must be degrees Celsius from 20.0 to 50.0"))
    }

    /// The temperature of so many tenths of a degree Celsius.
    pub fn from_tenths(tenths: u16) -> Option<Self> {
        Self::RANGE.contains(&tenths).then_some(Self(tenths))
    }

    /// Tenths of a degree Celsius.
    pub fn tenths(self) -> u16 {
        self.0
    }

    /// Degrees Celsius.
    pub fn degrees(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// Tenths of a degree Fahrenheit.
    fn fahrenheit(self) -> u16 {
        (self.0 * 18 + 5) / 10 + 320
    }
}

/// Degrees Celsius with one decimal place.
impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tenths(self.0))
    }
}

fn tenths(number: u16) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_of_people_in_degrees_celsius() {
        for (degrees, text) in [
            (20.0, Some("20.0")),
            (36.55, Some("36.6")),
            (36.54, Some("36.5")),
            (50.0, Some("50.0")),
            (50.06, None),
            (97.7, None),
            (0.0, None),
            (-36.5, None),
            (f64::MAX, None),
            (f64::NAN, None),
        ] {
            let found = Temperature::new("temperature", degrees);
            assert_eq!(found.as_ref().ok().map(Temperature::to_string).as_deref(), text);
            assert!(found.is_ok() || found.unwrap_err().field == "temperature");
        }
    }

    #[test]
    fn fahrenheit_is_rounded_to_tenths() {
        for (tenths, fahrenheit) in [(200, 680), (365, 977), (366, 979), (370, 986), (500, 1220)] {
            assert_eq!(Temperature::from_tenths(tenths).unwrap().fahrenheit(), fahrenheit);
        }
    }
}
