//! All skills of some folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_place::Text;

use crate::context::RenderContext;
use crate::error::SkillError;
use crate::front_matter::FrontMatter;
use crate::machine::Machine;
use crate::manifest::{Manifest, TemplateEntry};
use crate::template::Template;

/// One skill.
#[derive(Debug, Clone)]
pub struct Skill {
    /// Its name, which is the name of its folder.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// The guidance in `SKILL.md`, without the front matter.
    pub guidance: String,
    /// The front matter's `metadata`.
    pub metadata: BTreeMap<String, String>,
    /// Its folder.
    pub directory: PathBuf,
    pub(crate) entries: Vec<TemplateEntry>,
}

impl Skill {
    /// The words of a tag in the front matter's `metadata`, such as `families`.
    pub fn tags(&self, key: &str) -> Vec<String> {
        let words = self.metadata.get(key).map(String::as_str).unwrap_or_default();
        words.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// The skills of all roots; of two with one name, the earlier root's is kept.
#[derive(Debug, Clone)]
pub struct Skills {
    skills: BTreeMap<String, Skill>,
    engine: Arc<tera::Tera>,
}

impl Skills {
    /// Reads every skill below the given folders and parses every template.
    ///
    /// A folder whose name begins with `_` holds parts that all templates may include as `<folder>/<file>`.
    pub fn open<P: AsRef<Path>>(roots: impl IntoIterator<Item = P>) -> Result<Self, SkillError> {
        let mut skills = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for root in roots {
            for directory in folders(root.as_ref())? {
                let folder = name_of(&directory);
                let is_skill = !folder.starts_with('_') && directory.join("SKILL.md").exists();
                // A skill of the same name in an earlier root hides this one as a whole.
                if is_skill && !skills.contains_key(&folder) {
                    skills.insert(folder.clone(), read_skill(&directory, &folder)?);
                    read_templates(&directory, &folder, &mut sources)?;
                } else if folder.starts_with('_') {
                    read_templates(&directory, &folder, &mut sources)?;
                }
            }
        }
        let mut engine = tera::Tera::new();
        engine.autoescape_on(Vec::<String>::new());
        engine.add_raw_templates(sources).map_err(|error| SkillError::Render {
            template: "skills".to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Self { skills, engine: Arc::new(engine) })
    }

    /// The skills, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Skill> {
        self.skills.values()
    }

    /// The skill of that name.
    pub fn find(&self, name: &str) -> Option<&Skill> {
        self.skills.get(name)
    }

    /// The templates that serve an operation on a machine, those written for the very contract first.
    pub fn templates_for(&self, context: &RenderContext, machine: &Machine) -> Vec<Template> {
        let mut fitting: Vec<(bool, Template)> = self
            .entries()
            .filter(|(_, entry)| serves(entry, context) && runs_on(entry, machine))
            .filter_map(|(skill, entry)| {
                let general = !entry.contracts.contains(&context.contract);
                Some((general, Template::new(&skill.name, entry, machine, &self.engine)?))
            })
            .collect();
        fitting.sort_by_key(|(general, _)| *general);
        fitting.into_iter().map(|(_, template)| template).collect()
    }

    /// The template with the given `<skill>/<template>` id, cut to a machine.
    pub fn template(&self, id: &str, machine: &Machine) -> Option<Template> {
        let (skill, name) = id.split_once('/')?;
        let skill = self.skills.get(skill)?;
        let entry = skill.entries.iter().find(|entry| entry.name.as_ref() == name)?;
        runs_on(entry, machine).then(|| Template::new(&skill.name, entry, machine, &self.engine))?
    }

    /// The skills with at least one template for the operation, on any machine.
    pub fn skills_for(&self, context: &RenderContext) -> Vec<&Skill> {
        self.iter().filter(|skill| skill.entries.iter().any(|entry| serves(entry, context))).collect()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Skill, &TemplateEntry)> {
        self.iter().flat_map(|skill| skill.entries.iter().map(move |entry| (skill, entry)))
    }

    pub(crate) fn engine(&self) -> &Arc<tera::Tera> {
        &self.engine
    }
}

fn serves(entry: &TemplateEntry, context: &RenderContext) -> bool {
    let named = entry.contracts.contains(&context.contract) || entry.families.contains(&context.family);
    named && (!entry.requires_elements || context.is_elementwise_f32())
}

fn runs_on(entry: &TemplateEntry, machine: &Machine) -> bool {
    let target = machine.target.to_string();
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => target.starts_with(prefix),
        None => target == *pattern,
    };
    let features = entry.requires.is_empty() || machine.has_all(&entry.requires);
    features && entry.targets.as_ref().iter().any(matches)
}

fn read_skill(directory: &Path, folder: &str) -> Result<Skill, SkillError> {
    let guide_path = directory.join("SKILL.md");
    let matter = FrontMatter::parse(&guide_path, &read(&guide_path)?)?;
    let manifest_path = directory.join("skill.toml");
    let mut entries = Vec::new();
    if manifest_path.exists() {
        let text = read(&manifest_path)?;
        let manifest = Manifest::parse(&manifest_path, &text, folder)?;
        for entry in &manifest.templates {
            let file = Text { path: &manifest_path, text: &text };
            check_file(directory, entry, file)?;
        }
        entries = manifest.templates;
    }
    let FrontMatter { name, description, metadata, body } = matter;
    let directory = directory.to_owned();
    Ok(Skill { name, description, guidance: body, metadata, directory, entries })
}

fn check_file(directory: &Path, entry: &TemplateEntry, file: Text<'_>) -> Result<(), SkillError> {
    let name = entry.file.as_ref();
    let inside = !name.contains('/') && has_ending(name);
    if inside && directory.join(name).is_file() {
        return Ok(());
    }
    let field = format!("template `{}`, file", entry.name.as_ref());
    let help = "name a file that ends in `.tera` in the skill's own folder".to_owned();
    Err(file.problem(Some(entry.file.span()), &field, format!("there is no template file `{name}`"), help))
}

/// Adds every `*.tera` file of a folder under the name `<folder>/<file>`, unless an earlier root gave it.
fn read_templates(
    directory: &Path,
    folder: &str,
    sources: &mut BTreeMap<String, String>,
) -> Result<(), SkillError> {
    for path in children(directory)? {
        let name = name_of(&path);
        if path.is_file() && has_ending(&name) {
            let text = read(&path)?;
            sources.entry(format!("{folder}/{name}")).or_insert(text);
        }
    }
    Ok(())
}

fn has_ending(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "tera")
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, SkillError> {
    Ok(children(root)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, SkillError> {
    let failed = |source| SkillError::Read { path: directory.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, SkillError> {
    fs::read_to_string(path).map_err(|source| SkillError::Read { path: path.to_owned(), source })
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
