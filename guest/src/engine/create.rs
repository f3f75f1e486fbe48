//! Makes containers: checks the wish, lays it over the image's configuration, takes a name, and writes the
//! record before anybody learns of the id.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use chrono::Utc;
use holm_api::{ContainerId, models};

use super::mounts::AnonymousVolumes;
use super::networks::NetworkMode;
use super::records::{self, Definition, Durability, Origin, Status};
use super::volumes::blocking;
use super::{Engine, EngineError, emulator, keeper, logging, names, networks, ports, validate};
use crate::container::etc_files::EtcFiles;
use crate::container::merge::merge;
use crate::container::resources::{Subject, settle};
use crate::container::{self, Joined, SpecInput};
use crate::image::{Hold, Image, Platform};

/// What a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateRequest {
    /// `None`: one that is made up.
    pub(crate) name: Option<String>,
    /// What runs.
    pub(crate) config: models::ContainerConfig,
    /// How it runs.
    pub(crate) host: models::HostConfig,
    /// Its places on networks.
    pub(crate) endpoints: HashMap<String, models::EndpointSettings>,
    /// The image has to be for this.
    pub(crate) platform: Option<Platform>,
}

/// What it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    /// Of the new container.
    pub(crate) id: ContainerId,
    /// Wishes that are not fulfilled, in Docker's words.
    pub(crate) warnings: Vec<String>,
}

impl Engine {
    /// Makes a container.
    pub(crate) async fn create(self: &Arc<Self>, mut request: CreateRequest) -> Result<Created, EngineError> {
        let mut warnings = validate::check(&request.config, &request.host)?;
        settle(&mut request.host, Subject::Container, self.abilities(), &mut warnings)?;
        networks::check_wishes(self.networks(), &request.endpoints)?;
        let wanted = request.config.image.as_deref().unwrap_or_default();
        let image = self.image(wanted, request.platform.as_ref())?;
        // Until the container is in the table nothing else keeps its layers, and those of images that it mounts.
        let mut holds: Vec<Hold> = self.images().hold(&image).into_iter().collect();
        let id = names::new_id()?;
        let name = self.take_name(request.name.as_deref(), &id)?;
        let platform = request.platform.is_none().then(|| other_platform(&image)).flatten();
        let made = self.make(id.clone(), name.clone(), request, &image, &mut holds).await;
        let (definition, left_out) = made.inspect_err(|_| self.table().names.release(&name, &id))?;
        warnings.extend(platform);
        warnings.extend(emulator::lacking(&image.config().platform()));
        warnings.extend(left_out);
        warnings.extend(ports::warning(&definition.host));
        self.tell_container(&definition, "create", []);
        let container = keeper::spawn(self.clone(), definition, Status::default(), None);
        self.table().containers.insert(id.clone(), container);
        drop(holds);
        Ok(Created { id, warnings })
    }

    /// Makes its volumes and its folder. Where that fails, nothing is left of either.
    async fn make(
        self: &Arc<Self>,
        id: ContainerId,
        name: String,
        request: CreateRequest,
        image: &Image,
        holds: &mut Vec<Hold>,
    ) -> Result<(Definition, Vec<String>), EngineError> {
        let mut definition = definition(self, id, name, request, image)?;
        definition.mounts = self.take_mounts(&definition, holds).await?;
        let (engine, written) = (self.clone(), definition.clone());
        let made = match blocking(move || write(&engine, &written)).await {
            Ok(warnings) => self.populate(&definition).await.map(|()| warnings),
            Err(error) => Err(error),
        };
        match made {
            Ok(warnings) => Ok((definition, warnings)),
            Err(error) => {
                let folder = self.layout().container(&definition.id);
                // The first error counts; a leftover goes at the next start.
                let _ = tokio::task::spawn_blocking(move || records::remove(&folder)).await;
                self.release_mounts(&definition, &definition.mounts, AnonymousVolumes::Remove).await;
                Err(error)
            }
        }
    }

    fn take_name(&self, wish: Option<&str>, id: &ContainerId) -> Result<String, EngineError> {
        let mut table = self.table();
        match wish {
            None => table.names.generate(id),
            Some(text) => {
                let name = names::checked(text)?;
                table.names.reserve(name, id)?;
                Ok(name.to_owned())
            }
        }
    }
}

/// moby's warning about an image that this machine's processor does not run by itself.
fn other_platform(image: &Image) -> Option<String> {
    let (host, offered) = (Platform::host(), image.config().platform());
    host.fit(&offered).is_none().then(|| {
        format!(
            "The requested image's platform ({offered}) does not match the detected host platform ({host}) and no \
             specific platform was requested"
        )
    })
}

fn definition(
    engine: &Engine,
    id: ContainerId,
    name: String,
    request: CreateRequest,
    image: &Image,
) -> Result<Definition, EngineError> {
    let CreateRequest { mut config, mut host, endpoints, .. } = request;
    let reference = config.image.clone().unwrap_or_default();
    merge(&mut config, &image.config().config);
    if let Some(memory) = host.memory.filter(|memory| *memory > 0) {
        host.memory_swap = host.memory_swap.filter(|swap| *swap != 0).or(Some(memory.saturating_mul(2)));
    }
    engine.pin_joined(&mut host)?;
    let network = NetworkMode::of(&host).ok().flatten();
    if let Some(network) = &network {
        host.network_mode = Some(network.name().to_owned());
    }
    engine.pin_links(&mut host, network.as_ref())?;
    let endpoints = engine.wished_endpoints(network.as_ref(), endpoints);
    if config.hostname.as_deref().is_none_or(str::is_empty) {
        config.hostname = Some(match network {
            Some(NetworkMode::Host) => engine.machine().hostname().to_owned(),
            _ => id.short().to_owned(),
        });
    }
    let mut command = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned();
    let path = command.next().unwrap_or_default();
    let args = command.collect();
    Ok(Definition {
        created: Utc::now(),
        image: Origin { id: image.id(), reference, diff_ids: image.diff_ids() },
        path,
        args,
        id,
        name,
        config,
        host,
        endpoints,
        mounts: Vec::new(),
    })
}

/// Makes the container's folder; where that fails nothing is left of it. Returns what the spec leaves out.
fn write(engine: &Engine, definition: &Definition) -> Result<Vec<String>, EngineError> {
    let folder = engine.layout().container(&definition.id);
    let written = try_write(engine, definition, &folder);
    if written.is_err() {
        // The first error counts; a leftover goes at the next start.
        let _ = records::remove(&folder);
    }
    written
}

fn try_write(
    engine: &Engine,
    definition: &Definition,
    folder: &std::path::Path,
) -> Result<Vec<String>, EngineError> {
    logging::log_file(definition, folder)?;
    let warnings = container::check(&SpecInput {
        id: &definition.id,
        config: &definition.config,
        host: &definition.host,
        rootfs: &folder.join("bundle/rootfs"),
        files: &EtcFiles::in_folder(folder),
        mounts: &[],
        joined: Joined::default(),
        program: engine.program(),
        abilities: engine.abilities(),
    })?;
    let durability = if definition.removes_itself() { Durability::Atomic } else { Durability::Durable };
    fs::create_dir(folder)
        .and_then(|()| records::write_definition(folder, definition, durability))
        .map_err(EngineError::system("write the container's record"))?;
    Ok(warnings)
}
