//! The small tables of the terminal, as the server fills them (§12.2.9 to §12.2.18): short
//! messages, work codes, shortcut keys, access groups and times, holidays, pictures to show,
//! the blacklist. Each table is described by its fields, each field by a rule.

mod list;
mod rule;
mod table;

pub use table::{Entry, EntryTable};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codes::Language;
    use crate::protocol::fields::Refusal;

    fn parse(table: &str, record: &str) -> Result<Entry, Refusal> {
        EntryTable::named(table).unwrap().parse(record.as_bytes(), Language::ENGLISH)
    }

    #[test]
    fn records_as_in_the_document_are_read() {
        for (table, record, id) in [
            ("SMS", "MSG=Made up\tTAG=253\tUID=1\tMIN=60\tStartTime=2015-07-29 00:00:00", "1"),
            ("user_sms", "PIN=7\tUID=1", "7\t1"),
            ("ADPIC", "Index=1\tSize=4\tExtension=jpg\tContent=QUJD", "1"),
            ("ADPIC", "Index=1\tSize=3\tExtension=jpg\tContent=QUJD", "1"),
            ("WORKCODE", "PIN=1\tCODE=12\tNAME=Made up", "12"),
            (
                "ShortcutKey",
                "KeyID=1\tKeyFun=1\tStatusCode==0\tShowName=In\tAutoState=1\tAutoTime=08:00;09:00\tSun=0",
                "1",
            ),
            ("AccGroup", "ID=1\tVerify=0\tValidHoliday=1\tTZ=1;1;0;0", "1"),
            ("AccGroup", "ID=1\tVerify=0\tValidHoliday=1\tTZ=1;0;0", "1"),
            ("AccTimeZone", "UID=1\tSunStart=1159\tSunEnd=2359", "1"),
            (
                "AccHoliday",
                "UID=1\tHolidayName=Made up\tStartDate=1123\tEndDate=1125\tTimeZone=1",
                "1",
            ),
            ("AccUnLockComb", "UID=1\tGroup1=1\tGroup2=2\tGroup5=0", "1"),
            ("Blacklist", "IDNum=11010519491231002X", "11010519491231002X"),
        ] {
            let entry = parse(table, record)
                .unwrap_or_else(|refusal| panic!("{table} {record}: {}", refusal.why));
            assert_eq!(EntryTable::named(table).unwrap().id_of(&entry), id);
        }
        assert_eq!(parse("ShortcutKey", "KeyID=1\tStatusCode==4").unwrap()["statuscode"], "4");
    }

    #[test]
    fn wrong_records_are_refused_with_their_field() {
        for (table, record, field) in [
            ("SMS", "MSG=x\tTAG=253", "uid"),
            ("SMS", "UID=1\tTAG=1", "tag"),
            ("SMS", "UID=1\tStartTime=2015-02-30 00:00:00", "starttime"),
            ("SMS", "UID=\tTAG=253", "uid"),
            ("USER_SMS", "PIN=a b\tUID=1", "pin"),
            ("ADPIC", "Index=1\tSize=9\tContent=QUJD", "size"),
            ("ADPIC", "Index=1\tContent=!", "content"),
            ("WORKCODE", "PIN=1\tNAME=x", "code"),
            ("ShortcutKey", "KeyID=9", "keyid"),
            ("ShortcutKey", "KeyID=1\tAutoTime=25:00", "autotime"),
            ("AccGroup", "ID=1\tTZ=1;2", "tz"),
            ("AccTimeZone", "UID=1\tSunStart=2460", "sunstart"),
            ("AccHoliday", "UID=1\tStartDate=1332", "startdate"),
            ("AccUnLockComb", "UID=1\tGroup3=x", "group3"),
            ("Blacklist", "IDNum=1234567890123456789", "idnum"),
        ] {
            let refusal = parse(table, record).unwrap_err();
            assert_eq!(refusal.field, Some(field), "{table} {record}: {}", refusal.why);
        }
    }
}
