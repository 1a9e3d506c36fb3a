//! The two primes of a key. `rsa` would find them by itself, with tables of 60 KB that make the search a little
//! quicker. The test for primality is that of `crypto-primes`, as FIPS 186-5 has it.

use crypto_primes::hazmat::MillerRabin;
use getrandom::rand_core::TryRng;
use getrandom::{Error, SysRng};
use rsa::BoxedUint;

/// Bits of each prime, and its bytes.
const BITS: u32 = 1024;
const BYTES: usize = BITS as usize / 8;
/// Rounds of Miller-Rabin with random bases: FIPS 186-5, table B.1, wants five for an error of 2⁻¹¹².
const ROUNDS: usize = 8;
/// What no candidate may be divisible by: the odd primes up to here. Eleven of twelve are.
const LARGEST_DIVISOR: u32 = 2_000;
/// How far from a random number is searched.
const REACH: u32 = 40_000;
/// The public exponent.
pub(super) const EXPONENT: u32 = 65_537;
/// So many bytes of the two primes must not be the same.
const APART: usize = 13;

type Bytes = [u8; BYTES];

/// Two primes of a key whose exponent is [`EXPONENT`].
pub(super) fn pair() -> Result<[BoxedUint; 2], Error> {
    let divisors = odd_primes();
    let first = prime(&divisors)?;
    loop {
        let second = prime(&divisors)?;
        if first[..APART] != second[..APART] {
            return Ok([first, second].map(|it| number(&it)));
        }
    }
}

fn number(bytes: &Bytes) -> BoxedUint {
    BoxedUint::from_be_slice(bytes, BITS).expect("it has so many bits")
}

/// A prime whose two highest bits are set, so that the product of two has all its bits.
fn prime(divisors: &[u32]) -> Result<Bytes, Error> {
    loop {
        let mut start = [0; BYTES];
        SysRng.try_fill_bytes(&mut start)?;
        start[0] |= 0xc0;
        start[BYTES - 1] |= 1;
        let remainders: Vec<_> = divisors.iter().map(|it| remainder(&start, *it)).collect();
        for step in (0..REACH).step_by(2) {
            let divides = |(divisor, remainder): (&u32, &u32)| (remainder + step) % divisor == 0;
            if divisors.iter().zip(&remainders).any(divides) {
                continue;
            }
            let Some(candidate) = plus(&start, step) else { break };
            // The exponent must have an inverse.
            if remainder(&candidate, EXPONENT) != 1 && is_prime(&candidate)? {
                return Ok(candidate);
            }
        }
    }
}

fn is_prime(candidate: &Bytes) -> Result<bool, Error> {
    let odd = number(candidate).to_odd().into_option();
    let test = MillerRabin::new(odd.expect("candidates are odd"));
    for _ in 0..ROUNDS {
        let mut base = [0; BYTES];
        SysRng.try_fill_bytes(&mut base)?;
        // From 2 to less than the candidate, whose highest bits are set.
        base[0] &= 0x3f;
        base[BYTES - 1] |= 2;
        if !test.test(&number(&base)).is_probably_prime() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remainder(bytes: &Bytes, divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let fold = |rest: u64, byte: &u8| (rest * 256 + u64::from(*byte)) % divisor;
    u32::try_from(bytes.iter().fold(0, fold)).expect("it is below the divisor")
}

/// The sum; none if it has more bits.
fn plus(bytes: &Bytes, more: u32) -> Option<Bytes> {
    let (mut sum, mut carry) = (*bytes, more);
    for byte in sum.iter_mut().rev() {
        carry += u32::from(*byte);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    (carry == 0).then_some(sum)
}

fn odd_primes() -> Vec<u32> {
    let mut primes = Vec::new();
    for number in (3..LARGEST_DIVISOR).step_by(2) {
        if primes.iter().all(|prime| number % prime != 0) {
            primes.push(number);
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(low: u64) -> Bytes {
        let mut bytes = [0; BYTES];
        bytes[BYTES - 8..].copy_from_slice(&low.to_be_bytes());
        bytes
    }

    #[test]
    fn what_is_no_prime_is_not_taken_for_one() {
        // 2¹⁰²⁴ − 105 is the largest prime of 1024 bits.
        let largest = |below: u32| {
            let mut bytes = [0xff; BYTES];
            bytes[BYTES - 1] -= (below - 1) as u8;
            bytes
        };
        assert!(is_prime(&largest(105)).unwrap());
        for below in (1..105).step_by(2) {
            assert!(!is_prime(&largest(below)).unwrap(), "{below}");
        }
    }

    #[test]
    fn remainders_and_sums_are_right() {
        assert_eq!(remainder(&bytes(1_000_003), 1009), 1_000_003 % 1009);
        assert_eq!(remainder(&[0xff; BYTES], 257), 0);
        assert_eq!(remainder(&bytes(EXPONENT.into()), EXPONENT), 0);
        assert_eq!(plus(&bytes(0xffff), 2), Some(bytes(0x1_0001)));
        assert_eq!(plus(&[0xff; BYTES], 1), None);
        assert_eq!(odd_primes()[..5], [3, 5, 7, 11, 13]);
        assert_eq!(odd_primes().len(), 302);
    }

    #[test]
    fn two_primes_make_a_modulus_of_all_its_bits() {
        let [one, other] = pair().unwrap();
        assert_ne!(one, other);
        for prime in [one, other] {
            let bytes: Bytes = (*prime.to_be_bytes()).try_into().unwrap();
            assert!(bytes[0] & 0xc0 == 0xc0 && is_prime(&bytes).unwrap());
            assert_ne!(remainder(&bytes, EXPONENT), 1);
        }
    }
}
