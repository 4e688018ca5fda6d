//! The tables of characters against Python's `re`.

use regex_syntax::hir::{Class, HirKind};
use sha2::{Digest, Sha256};

use super::{is_extension, is_spaceless, is_word};

/// All characters that Unicode had assigned by a version.
fn assigned(version: &str) -> impl Iterator<Item = char> {
    let hir = regex_syntax::parse(&format!(r"\p{{Age={version}}}")).unwrap();
    let HirKind::Class(Class::Unicode(class)) = hir.into_kind() else { panic!("a class was expected") };
    let codes: Vec<_> = class.ranges().iter().map(|range| u32::from(range.start())..=u32::from(range.end())).collect();
    // Noncharacters have an age, too.
    let is_character = |code: &u32| code & 0xFFFE != 0xFFFE && !(0xFDD0..=0xFDEF).contains(code);
    codes.into_iter().flatten().filter(is_character).filter_map(char::from_u32)
}

/// Python 3.11 has Unicode 14: of its 282,230 assigned characters, `re.match(r"\w", c)` takes 133,548. The checksum is
/// that of one `1` or `0` for each, in order.
#[test]
fn word_characters_are_those_of_pythons_regular_expressions() {
    let bits: Vec<u8> = assigned("14.0").map(|c| if is_word(c) { b'1' } else { b'0' }).collect();
    assert_eq!(bits.len(), 282_230);
    assert_eq!(bits.iter().filter(|bit| **bit == b'1').count(), 133_548);
    let sum: String = Sha256::digest(&bits).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sum, "fa4443cfd321b28070ce297a452443d9ec0686856c96eeee49ca4e607077879c");
}

#[test]
fn marks_are_no_word_characters_and_newer_letters_are() {
    for c in ['\u{301}', '\u{93F}', 'Ⓐ', '\u{345}', '-', '\'', '\u{A0}', '\u{200D}'] {
        assert!(!is_word(c), "{c:?}");
    }
    for c in ['é', 'ß', '東', '½', '²', 'Ⅷ', '٣', '_', 'ʼ', '\u{1C89}', '\u{10EC2}'] {
        assert!(is_word(c), "{c:?}");
    }
}

#[test]
fn scripts_without_spaces_are_known_by_their_letters() {
    for c in ['東', 'ひ', 'カ', 'ー', 'ｶ', '々', '〇', '한', 'ㄅ', 'ท', 'ລ', 'ក', 'က', '\u{20000}'] {
        assert!(is_spaceless(c), "{c:?}");
    }
    for c in ['a', 'é', 'я', 'अ', 'ع', '、', '。', '・', '１', '๑', '\u{1F600}'] {
        assert!(!is_spaceless(c), "{c:?}");
    }
    for c in ['\u{3099}', '\u{FF9E}', '\u{E31}', '\u{FE0F}', '\u{11A8}'] {
        assert!(is_extension(c), "{c:?}");
    }
}
