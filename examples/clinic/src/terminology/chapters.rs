/// The titles of the chapters of ICD-10-CM, shortened to fit a line.
const CHAPTERS: [&str; 22] = [
    "Certain infectious and parasitic diseases",
    "Neoplasms",
    "Diseases of the blood and the immune mechanism",
    "Endocrine, nutritional and metabolic diseases",
    "Mental, behavioral and neurodevelopmental disorders",
    "Diseases of the nervous system",
    "Diseases of the eye and adnexa",
    "Diseases of the ear and mastoid process",
    "Diseases of the circulatory system",
    "Diseases of the respiratory system",
    "Diseases of the digestive system",
    "Diseases of the skin and subcutaneous tissue",
    "Diseases of the musculoskeletal system",
    "Diseases of the genitourinary system",
    "Pregnancy, childbirth and the puerperium",
    "Conditions originating in the perinatal period",
    "Congenital malformations and chromosomal abnormalities",
    "Symptoms and abnormal findings, not elsewhere classified",
    "Injury, poisoning and other external consequences",
    "External causes of morbidity",
    "Factors influencing health status and contact with services",
    "Codes for special purposes",
];

/// The numbers and titles of all chapters, in order.
pub(crate) fn chapters() -> impl Iterator<Item = (String, &'static str)> {
    CHAPTERS.iter().enumerate().map(|(index, title)| ((index + 1).to_string(), *title))
}
