"""What the programs that the launchers call take, as their documentation says, and a check of a command against it.

The gcloud entries were also held against `gcloud help` of Google Cloud SDK 528.0.0. What is required here and not there
(a project, a zone) has a default in the settings of gcloud, which launchers must not rely on.
"""

import dataclasses
import re

_GCLOUD_WIDE = {"--project": ".+", "--quiet": None, "--format": ".+", "--verbosity": "debug|info|warning|error"}
_NAME = "[a-z]([a-z0-9-]*[a-z0-9])?"
_SSH = {"--worker": r"all|[\d,-]+", "--zone": ".+", "--internal-ip": None, "--strict-host-key-checking": "yes|no|ask"}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command and what it takes.

    Args:
        positional: a pattern for each argument without a flag; the last may end with ... for one or more.
        flags: name to the pattern of its value; None for one without a value.
        required: flags that must be there.
        exclusive: groups of which at most one flag may be there.
    """

    positional: tuple[str, ...] = ()
    flags: dict[str, str | None] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()


COMMANDS: dict[str, Command] = {
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/create
    "gcloud compute tpus queued-resources create": Command(
        (_NAME,),
        {
            "--node-id": _NAME, "--node-count": r"\d+", "--node-prefix": _NAME, "--accelerator-type": r"v\d+[a-z]*-\d+",
            "--topology": r"\d+x\d+(x\d+)?", "--type": "v[234]", "--runtime-version": "[a-z0-9.-]+", "--zone": ".+",
            "--spot": None, "--reserved": None, "--guaranteed": None, "--async": None, "--internal-ips": None,
            "--service-account": ".+@.+", "--scopes": ".+", "--network": ".+", "--subnetwork": ".+", "--labels": ".+",
            "--tags": ".+", "--metadata": ".+", "--description": ".+", "--data-disk": ".+",
            "--valid-until-duration": ".+", "--valid-after-duration": ".+", **_GCLOUD_WIDE,
        },
        ("--runtime-version", "--zone", "--node-id", "--accelerator-type", "--project"),
        (("--node-id", "--node-count"), ("--accelerator-type", "--topology"), ("--spot", "--reserved", "--guaranteed")),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/describe
    "gcloud compute tpus queued-resources describe": Command(
        (_NAME,), {"--zone": ".+", **_GCLOUD_WIDE}, ("--zone", "--project")
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/delete
    "gcloud compute tpus queued-resources delete": Command(
        (_NAME,), {"--zone": ".+", "--force": None, "--async": None, **_GCLOUD_WIDE}, ("--zone", "--project", "--quiet")
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/describe
    "gcloud compute tpus tpu-vm describe": Command((_NAME,), {"--zone": ".+", **_GCLOUD_WIDE}, ("--zone", "--project")),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/ssh
    "gcloud compute tpus tpu-vm ssh": Command(
        (f"(.+@)?{_NAME}",),
        {"--command": r"[\s\S]+", "--output-directory": ".+", "--ssh-flag": ".+", **_SSH, **_GCLOUD_WIDE},
        ("--zone", "--project", "--command"),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/scp
    "gcloud compute tpus tpu-vm scp": Command(
        ("[^:]+", f"{_NAME}:.*"),
        {"--recurse": None, "--compress": None, **_SSH, **_GCLOUD_WIDE},
        ("--zone", "--project"),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/accelerator-types/list
    "gcloud compute tpus accelerator-types list": Command((), {"--zone": ".+", "--filter": ".+", **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/services/enable
    "gcloud services enable": Command(
        (r"[a-z]+\.googleapis\.com...",), {"--async": None, **_GCLOUD_WIDE}, ("--project",)
    ),
    # https://cloud.google.com/sdk/gcloud/reference/storage/buckets/create
    "gcloud storage buckets create": Command(
        ("gs://[a-z0-9._-]+",),
        {"--location": ".+", "--uniform-bucket-level-access": None, "--public-access-prevention": None, **_GCLOUD_WIDE},
        ("--location", "--project"),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/list
    "gcloud compute tpus queued-resources list": Command((), {"--zone": ".+", "--filter": ".+", **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/auth/login
    "gcloud auth login": Command((), _GCLOUD_WIDE),
    # https://cloud.google.com/sdk/gcloud/reference/auth/application-default/login
    "gcloud auth application-default login": Command((), {"--scopes": ".+", **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/storage/buckets/add-iam-policy-binding
    "gcloud storage buckets add-iam-policy-binding": Command(
        ("gs://[a-z0-9._-]+",),
        {"--member": "(serviceAccount|user|principal):.+@.+", "--role": "roles/.+", **_GCLOUD_WIDE},
        ("--member", "--role"),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/storage/rsync
    "gcloud storage rsync": Command((".+", ".+"), {"--recursive": None, "--dry-run": None, **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/storage/ls
    "gcloud storage ls": Command(("gs://.+",), {"--recursive": None, "--long": None, **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/iam/service-accounts/create
    "gcloud iam service-accounts create": Command(
        ("[a-z][a-z0-9-]{4,28}[a-z0-9]",),
        {"--display-name": ".+", "--description": ".+", **_GCLOUD_WIDE},
    ),
    # https://cloud.google.com/sdk/gcloud/reference/artifacts/repositories/create
    "gcloud artifacts repositories create": Command(
        (_NAME,),
        {"--repository-format": "docker|python", "--location": ".+", "--description": ".+", **_GCLOUD_WIDE},
        ("--repository-format", "--location"),
    ),
    # https://cloud.google.com/sdk/gcloud/reference/auth/configure-docker
    "gcloud auth configure-docker": Command(("[a-z0-9.-]+",), {"--include-artifact-registry": None, **_GCLOUD_WIDE}),
    # https://cloud.google.com/sdk/gcloud/reference/container/clusters/get-credentials
    "gcloud container clusters get-credentials": Command(
        (_NAME,),
        {"--location": ".+", "--zone": ".+", "--region": ".+", "--internal-ip": None, **_GCLOUD_WIDE},
        (),
        (("--location", "--zone", "--region"),),
    ),
    # https://docs.cloud.google.com/cluster-toolkit/docs/reference/gcluster-job-submit; read beside the source of
    # GoogleCloudPlatform/cluster-toolkit at 1047080, cmd/job/submit.go and job.go
    "gcluster job submit": Command(
        (),
        {
            "--project": ".+", "--cluster": ".+", "--location": ".+", "--name": _NAME, "--image": r"\S+",
            "--base-image": r"\S+", "--build-context": ".+", "--command": r"[\s\S]+", "--compute-type": r"[a-z0-9-]+",
            "--topology": r"\d+x\d+(x\d+)?", "--num-slices": r"\d+", "--num-nodes": r"\d+", "--restarts": r"\d+",
            "--restart-on-exit-codes": r"\d+(,\d+)*", "--grace-period": r"\d+[smh]", "--service-account": ".+",
            "--queue": _NAME, "--gke-nap-provisioning": "on-demand|spot|reservation", "--gke-nap-reservation": ".+",
            "--gke-ttl-after-finished": r"\d+[smh]", "--dry-run-out": ".+", "--mount": ".+", "--priority": ".+",
            "--node-constraint": ".+=.+", "--gke-namespace": ".+", "--skip-prereqs": None,
            "--await-job-completion": None,
        },
        ("--command", "--name", "--compute-type"),
        (("--image", "--base-image"),),
    ),
    # https://docs.cloud.google.com/cluster-toolkit/docs/reference/gcluster-job
    "gcluster job logs": Command((_NAME,), {"--project": ".+", "--cluster": ".+", "--location": ".+"}),
    "gcluster job list": Command((), {"--project": ".+", "--cluster": ".+", "--location": ".+"}),
    "gcluster job cancel": Command((_NAME,), {"--project": ".+", "--cluster": ".+", "--location": ".+"}),
    # https://slurm.schedmd.com/sbatch.html
    "sbatch": Command(
        (r".+",),
        {
            "--nodes": r"\d+(-\d+)?", "--ntasks-per-node": r"\d+", "--gpus-per-node": r"([a-z0-9]+:)?\d+",
            "--gres": r"gpu(:[a-z0-9]+)?:\d+", "--cpus-per-task": r"\d+", "--mem": r"\d+[KMGT]?", "--time": r"[\d:-]+",
            "--job-name": r"\S+", "--output": r"\S+", "--error": r"\S+", "--open-mode": "append|truncate",
            "--partition": r"\S+", "--account": r"\S+", "--qos": r"\S+", "--constraint": r"\S+", "--requeue": None,
            "--no-requeue": None, "--signal": r"(R|B|RB)?:?[A-Z0-9]+(@\d+)?", "--export": r"\S+", "--parsable": None,
            "--exclusive": None, "--chdir": ".+", "--test-only": None, "--hint": ".+",
        },
    ),
    # https://slurm.schedmd.com/srun.html
    "srun": Command(
        (r".+",),
        {
            "--kill-on-bad-exit": "[01]", "--wait": r"\d+", "--label": None, "--gpu-bind": "none|closest|single:.+",
            "--cpus-per-task": r"\d+", "--ntasks": r"\d+", "--nodes": r"\d+", "--export": r"\S+", "--unbuffered": None,
        },
    ),
    # https://slurm.schedmd.com/scancel.html
    "scancel": Command((r"\d+(\.\d+)?",), {"--signal": "[A-Z0-9]+", "--batch": None, "--full": None}),
    # https://slurm.schedmd.com/scontrol.html
    "scontrol requeue": Command((r"\d+",), {}),
    "squeue": Command((), {"--me": None, "--job": r"\d+", "--start": None}),
    # https://docs.skypilot.co/en/latest/reference/cli.html
    "sky jobs launch": Command(
        (r"\S+\.yaml",), {"--name": ".+", "--env": r"\w+(=.+)?", "--yes": None, "--use-spot": None}
    ),
    "sky launch": Command((r"\S+\.yaml",), {"--cluster": ".+", "--env": r"\w+(=.+)?", "--yes": None, "--dryrun": None}),
    "sky jobs logs": Command((r"\d+",), {"--follow": None, "--controller": None}),
    "sky jobs queue": Command((), {}),
    "sky jobs cancel": Command((r"\d+",), {}),
    # https://docs.docker.com/reference/cli/docker/buildx/build/
    "docker build": Command((r"\S+",), {"--file": ".+", "--build-arg": r"\w+=.+", "--tag": r"\S+"}, ("--file",)),
    # https://docs.docker.com/reference/cli/docker/container/run/
    "docker run": Command((r"\S+",), {"--rm": None, "--volume": r"\S+:\S+", "--gpus": "all"}),
    # https://docs.docker.com/reference/cli/docker/image/push/
    "docker push": Command((r"\S+",), {}),
}  # fmt: skip

# Programs whose words behind the first one without a flag belong to the program that they start.
_STARTERS = {"srun", "sbatch", "docker run"}
_REPEATABLE = {"--env", "--build-arg"}


def command_name(words: list[str]) -> str:
    """The longest documented name that the words begin with; empty when there is none."""
    return next((name for end in range(len(words), 0, -1) if (name := " ".join(words[:end])) in COMMANDS), "")


def faults(words: list[str]) -> list[str]:
    """What is wrong with a command, by the documentation.

    Args:
        words: of the command; flags as `--name=value` or `--name value`.
    """
    name = command_name(words)
    if not name:
        return [f"no documented command: {' '.join(words)}"]
    command, found = COMMANDS[name], []
    given, positional = _split(words[len(name.split()) :], command, name in _STARTERS)
    for flag, value in given:
        if flag not in command.flags:
            found.append(f"{name} takes no {flag}")
        elif (pattern := command.flags[flag]) is None:
            found += [f"{flag} takes no value"] if value is not None else []
        elif value is None or not re.fullmatch(pattern, value):
            found.append(f"{flag} does not take {value!r}")
    names = [flag for flag, _ in given]
    found += [f"{name} needs {flag}" for flag in command.required if flag not in names]
    found += [f"one of {group}" for group in command.exclusive if len(set(group) & set(names)) > 1]
    found += [f"{flag} comes twice" for flag in set(names) - _REPEATABLE if names.count(flag) > 1]
    return found + _wrong_arguments(name, command.positional, positional)


def _wrong_arguments(name: str, patterns: tuple[str, ...], given: list[str]) -> list[str]:
    if patterns and patterns[-1].endswith("..."):
        patterns = (*patterns[:-1], *[patterns[-1][:-3]] * max(1, len(given) - len(patterns) + 1))
    if len(given) != len(patterns):
        return [f"{name} takes {len(patterns)} arguments, not {given}"]
    pairs = zip(given, patterns, strict=True)
    return [f"{name} does not take {value!r}" for value, pattern in pairs if not re.fullmatch(pattern, value)]


def _split(words: list[str], command: Command, starts_another: bool) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Flags with their values, and the arguments without a flag."""
    given: list[tuple[str, str | None]] = []
    positional: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            positional.append(word)
            if starts_another:
                break
        elif "=" in word:
            flag, value = word.split("=", 1)
            given.append((flag, value))
        else:
            takes_value = command.flags.get(word) is not None
            given.append((word, rest.pop(0) if takes_value and rest else None))
    return given, positional
