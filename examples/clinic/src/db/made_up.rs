//! People who do not exist, the same ones on every machine.

use sqlx::AnyConnection;

use super::{Value, insert_all};

/// Argon2id of `statehouse`, the password of everybody made up here. It stands on the log-in page.
pub(super) const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$n5Uf/4IKA/St0K/kKVCwiA$Ojlwbn+eteU9s3Bh+xkq57ML47d4KoSO/YN91VKGgXI";

const PATIENTS: i64 = 2_000;
const STAFF: usize = 120;
/// The first three have logins that are easy to remember.
const FIRST_STAFF: [(&str, &str, &str); 3] = [
    ("ada", "Ada Okafor", "operator"),
    ("grace", "Grace Lindqvist", "clinician"),
    ("florence", "Florence Moreau", "clinician"),
];
/// 2025-01-01, in milliseconds.
const FIRST_DIAGNOSIS: i64 = 1_735_689_600_000;
const DAY: i64 = 86_400_000;

const FEMALE: [&str; 40] = [
    "Aisha",
    "Alma",
    "Amara",
    "Anna",
    "Beatriz",
    "Carmen",
    "Chiara",
    "Dolores",
    "Elena",
    "Emilia",
    "Esther",
    "Fatima",
    "Freya",
    "Hana",
    "Helena",
    "Ines",
    "Ingrid",
    "Ivana",
    "Jia",
    "Kamala",
    "Katarzyna",
    "Laila",
    "Leonie",
    "Lucia",
    "Maren",
    "Mei",
    "Miriam",
    "Nadia",
    "Ngozi",
    "Noor",
    "Olga",
    "Priya",
    "Rosa",
    "Salma",
    "Sofia",
    "Thandi",
    "Uma",
    "Wanjiru",
    "Yuki",
    "Zofia",
];
const MALE: [&str; 40] = [
    "Ahmed", "Anton", "Arjun", "Bela", "Bruno", "Carlos", "Daniel", "David", "Diego", "Emeka", "Erik", "Farid",
    "Felix", "Gustav", "Hassan", "Henrik", "Hiroshi", "Ibrahim", "Ivan", "Jakub", "Jamal", "Jonas", "Jorge", "Karel",
    "Kofi", "Lars", "Luca", "Marek", "Mateo", "Milan", "Nikolai", "Omar", "Paolo", "Rafael", "Samuel", "Stefan",
    "Tomas", "Viktor", "Wei", "Youssef",
];
const FAMILY: [&str; 60] = [
    "Abebe",
    "Adeyemi",
    "Ali",
    "Almeida",
    "Andersson",
    "Bauer",
    "Bello",
    "Bianchi",
    "Chen",
    "Costa",
    "Dahl",
    "Diallo",
    "Dubois",
    "Eriksen",
    "Fernandez",
    "Fischer",
    "Garcia",
    "Gupta",
    "Haddad",
    "Hansen",
    "Horvat",
    "Hussain",
    "Ito",
    "Ivanov",
    "Jansen",
    "Kaya",
    "Khan",
    "Kim",
    "Kovacs",
    "Kowalski",
    "Kumar",
    "Larsen",
    "Lopez",
    "Marino",
    "Mbeki",
    "Mensah",
    "Meyer",
    "Mwangi",
    "Nguyen",
    "Novak",
    "Nowak",
    "O'Brien",
    "Ortiz",
    "Osei",
    "Park",
    "Patel",
    "Pereira",
    "Petrov",
    "Popescu",
    "Rossi",
    "Sato",
    "Schmidt",
    "Silva",
    "Singh",
    "Suzuki",
    "Svoboda",
    "Tanaka",
    "Toth",
    "Walsh",
    "Weber",
];

/// Whom a diagnosis is made up for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Anyone,
    Women,
    Men,
}
use For::{Anyone, Men, Women};

/// Code, chapter, title as in the terminology, how common it is here, and for whom.
const COMMON: [(&str, &str, &str, u64, For); 46] = [
    ("I10", "9", "Essential (primary) hypertension", 30, Anyone),
    ("E78.5", "4", "Hyperlipidemia, unspecified", 22, Anyone),
    ("E11.9", "4", "Type 2 diabetes mellitus without complications", 18, Anyone),
    ("M54.50", "13", "Low back pain, unspecified", 16, Anyone),
    ("K21.9", "11", "Gastro-esophageal reflux disease without esophagitis", 14, Anyone),
    ("J06.9", "10", "Acute upper respiratory infection, unspecified", 14, Anyone),
    ("F32.A", "5", "Depression, unspecified", 13, Anyone),
    ("F41.1", "5", "Generalized anxiety disorder", 12, Anyone),
    ("E66.9", "4", "Obesity, unspecified", 12, Anyone),
    ("J45.909", "10", "Unspecified asthma, uncomplicated", 11, Anyone),
    ("Z00.00", "21", "Encounter for general adult medical examination without abnormal findings", 10, Anyone),
    ("N39.0", "14", "Urinary tract infection, site not specified", 9, Anyone),
    ("I25.10", "9", "Atherosclerotic heart disease of native coronary artery without angina pectoris", 9, Anyone),
    ("E03.9", "4", "Hypothyroidism, unspecified", 8, Anyone),
    ("S93.401", "19", "Sprain of unspecified ligament of right ankle", 8, Anyone),
    ("G43.909", "6", "Migraine, unspecified, not intractable, without status migrainosus", 8, Anyone),
    ("M17.11", "13", "Unilateral primary osteoarthritis, right knee", 8, Anyone),
    ("I48.91", "9", "Unspecified atrial fibrillation", 7, Anyone),
    ("J44.9", "10", "Chronic obstructive pulmonary disease, unspecified", 7, Anyone),
    ("E55.9", "4", "Vitamin D deficiency, unspecified", 7, Anyone),
    ("L20.9", "12", "Atopic dermatitis, unspecified", 7, Anyone),
    ("N18.30", "14", "Chronic kidney disease, stage 3 unspecified", 6, Anyone),
    ("D50.9", "3", "Iron deficiency anemia, unspecified", 6, Anyone),
    ("H25.9", "7", "Unspecified age-related cataract", 6, Anyone),
    ("G47.33", "6", "Obstructive sleep apnea (adult) (pediatric)", 6, Anyone),
    ("R51.9", "18", "Headache, unspecified", 6, Anyone),
    ("Z79.4", "21", "Long term (current) use of insulin", 5, Anyone),
    ("N40.0", "14", "Benign prostatic hyperplasia without lower urinary tract symptoms", 5, Men),
    ("O80", "15", "Encounter for full-term uncomplicated delivery", 5, Women),
    ("M81.0", "13", "Age-related osteoporosis without current pathological fracture", 5, Women),
    ("L40.0", "12", "Psoriasis vulgaris", 5, Anyone),
    ("B35.1", "1", "Tinea unguium", 5, Anyone),
    ("A09", "1", "Infectious gastroenteritis and colitis, unspecified", 5, Anyone),
    ("H66.90", "8", "Otitis media, unspecified, unspecified ear", 5, Anyone),
    ("T78.40", "19", "Allergy, unspecified", 4, Anyone),
    ("I50.9", "9", "Heart failure, unspecified", 4, Anyone),
    ("K80.20", "11", "Calculus of gallbladder without cholecystitis without obstruction", 4, Anyone),
    ("U07.1", "22", "COVID-19", 4, Anyone),
    ("F10.20", "5", "Alcohol dependence, uncomplicated", 3, Anyone),
    ("W19", "20", "Unspecified fall", 3, Anyone),
    ("H40.9", "7", "Unspecified glaucoma", 3, Anyone),
    ("C50.919", "2", "Malignant neoplasm of unspecified site of unspecified female breast", 3, Women),
    ("C61", "2", "Malignant neoplasm of prostate", 3, Men),
    ("D64.9", "3", "Anemia, unspecified", 3, Anyone),
    ("Q21.0", "17", "Ventricular septal defect", 1, Anyone),
    ("P07.30", "16", "Preterm newborn, unspecified weeks of gestation", 1, Anyone),
];

/// SplitMix64: the same numbers on every machine, and nothing that must not be guessed depends on them.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or_default()]
    }

    fn days(&mut self, limit: u64) -> i64 {
        i64::try_from(self.below(limit)).unwrap_or_default() * DAY
    }
}

/// Fills an empty database.
pub(super) async fn fill(connection: &mut AnyConnection) -> sqlx::Result<()> {
    let mut numbers = Numbers(2026);
    let staff = staff(&mut numbers);
    let rows: Vec<_> = (1..).zip(&staff).map(|(id, member)| staff_row(id, member)).collect();
    insert_all(connection, "staff (id, login, name, role, password)", &rows).await?;
    let (mut patients, mut diagnoses) = (Vec::new(), Vec::new());
    for id in 1..=PATIENTS {
        let women = numbers.below(2) == 0;
        patients.push(patient_row(id, women, &mut numbers));
        add_diagnoses(id, women, &staff, &mut numbers, &mut diagnoses);
    }
    insert_all(connection, "patients (id, name, find, born, sex)", &patients).await?;
    let columns = "diagnoses (id, patient, code, title, chapter, added_at, added_by)";
    insert_all(connection, columns, &diagnoses).await
}

/// Login, name and role.
fn staff(numbers: &mut Numbers) -> Vec<(String, String, &'static str)> {
    let first = FIRST_STAFF.iter().map(|&(login, name, role)| (login.to_owned(), name.to_owned(), role));
    let mut staff: Vec<_> = first.collect();
    for number in staff.len()..STAFF {
        let given = if number % 2 == 0 { FEMALE } else { MALE };
        let name = format!("{} {}", numbers.pick(&given), numbers.pick(&FAMILY));
        staff.push((format!("staff{number:03}"), name, "clinician"));
    }
    staff
}

fn staff_row(id: i64, (login, name, role): &(String, String, &'static str)) -> Vec<Value> {
    vec![id.into(), login.as_str().into(), name.as_str().into(), (*role).into(), PASSWORD_HASH.into()]
}

fn patient_row(id: i64, woman: bool, numbers: &mut Numbers) -> Vec<Value> {
    let (given, sex) = if woman { (FEMALE, "female") } else { (MALE, "male") };
    let name = format!("{} {}", numbers.pick(&given), numbers.pick(&FAMILY));
    let find = format!(" {}", name.to_lowercase());
    let born = format!("{}-{:02}-{:02}", 1932 + numbers.below(88), 1 + numbers.below(12), 1 + numbers.below(28));
    vec![id.into(), name.into(), find.into(), born.into(), sex.into()]
}

/// None to five diagnoses, each code once.
fn add_diagnoses(
    patient: i64,
    woman: bool,
    staff: &[(String, String, &'static str)],
    numbers: &mut Numbers,
    rows: &mut Vec<Vec<Value>>,
) {
    let excluded = if woman { Men } else { Women };
    let mut left: Vec<_> = COMMON.iter().filter(|(.., whom)| *whom != excluded).collect();
    for number in 0..numbers.below(6) {
        let total = left.iter().map(|(.., weight, _)| weight).sum();
        let mut at = numbers.below(total);
        let chosen = left.iter().position(|(.., weight, _)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            hit
        });
        let (code, chapter, title, ..) = *left.swap_remove(chosen.unwrap_or_default());
        let by = &staff[usize::try_from(numbers.below(staff.len() as u64)).unwrap_or_default()].1;
        let added_at = FIRST_DIAGNOSIS + numbers.days(500);
        let id = format!("{patient:024x}{number:08x}");
        rows.push(vec![
            id.into(),
            patient.into(),
            code.into(),
            title.into(),
            chapter.into(),
            added_at.into(),
            by.as_str().into(),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminology::Edition;

    #[test]
    fn the_common_diagnoses_stand_in_both_editions_under_the_same_title_and_chapter() {
        for edition in [Edition::April2025, Edition::April2026] {
            let concepts: Vec<_> = edition.concepts().collect();
            for (code, chapter, title, ..) in COMMON {
                let concept = concepts.iter().find(|concept| concept.code == code).expect(code);
                assert_eq!((concept.chapter.as_str(), concept.title.as_str()), (chapter, title), "{code}");
            }
        }
    }

    #[test]
    fn the_same_people_are_made_up_every_time() {
        let (once, again) = (staff(&mut Numbers(1)), staff(&mut Numbers(1)));
        assert_eq!(once, again);
        assert_eq!(once.len(), STAFF);
        let mut logins: Vec<_> = once.iter().map(|(login, ..)| login).collect();
        logins.sort();
        logins.dedup();
        assert_eq!(logins.len(), STAFF);
    }
}
