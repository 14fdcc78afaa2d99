"""Where known names live, so that a missing plugin is answered with the command that installs it. Data only."""

from __future__ import annotations

KNOWN: dict[str, dict[str, tuple[str, str]]] = {
    "finetune": {
        "alpacalora": ("AlpacaloraFinetune", "lazyllm-finetune-alpacalora"),
        "collie": ("CollieFinetune", "lazyllm-finetune-collie"),
        "llamafactory": ("LlamafactoryFinetune", "lazyllm-finetune-llamafactory"),
    },
    "deploy": {
        "transformers": ("TransformersDeploy", "lazyllm-deploy-transformers"),
        "vllm": ("Vllm", "lazyllm-deploy-vllm"),
        "lmdeploy": ("LMDeploy", "lazyllm-deploy-lmdeploy"),
        "lightllm": ("Lightllm", "lazyllm-deploy-lightllm"),
        "infinity": ("Infinity", "lazyllm-deploy-infinity"),
        "embedding": ("EmbeddingDeploy", "lazyllm-deploy-embedding"),
        "stable_diffusion": ("StableDiffusionDeploy", "lazyllm-deploy-stable-diffusion"),
        "bark": ("BarkDeploy", "lazyllm-deploy-bark"),
        "chattts": ("ChatTTSDeploy", "lazyllm-deploy-chattts"),
        "musicgen": ("MusicGenDeploy", "lazyllm-deploy-musicgen"),
        "sensevoice": ("SenseVoiceDeploy", "lazyllm-deploy-sensevoice"),
    },
    "launchers": {
        "empty": ("EmptyLauncher", "lazyllm-launch-local"),
        "slurm": ("SlurmLauncher", "lazyllm-launch-slurm"),
        "sco": ("ScoLauncher", "lazyllm-launch-sco"),
        "ray": ("RayLauncher", "lazyllm-launch-ray"),
        "psij": ("PsijLauncher", "lazyllm-launch-psij"),
        "k8s": ("K8sLauncher", "lazyllm-launch-k8s"),
    },
    "prompters": {
        "alpaca": ("AlpacaPrompter", "lazyllm-prompter-alpaca"),
        "chat": ("ChatPrompter", "lazyllm-prompter-chat"),
    },
    "hubs": {
        "huggingface": ("HuggingfaceDownloader", "lazyllm-hub-huggingface"),
        "modelscope": ("ModelscopeDownloader", "lazyllm-hub-modelscope"),
    },
    "formatters": {},
}
"""group → name → (class, distribution)"""


KEYS = {"sco": "lazyllm-launch-sco", "psij": "lazyllm-launch-psij", "ray": "lazyllm-launch-ray"}
"""first word of a configuration key → the distribution that adds it"""

INSTALL = {"lazyllm-launch-local": "pip install 'lazyllm-core[local]'"}
"""distribution → the command, where it is not simply its name"""


def install(distribution: str) -> str:
    """Return the command that installs `distribution`."""
    return INSTALL.get(distribution, f"pip install {distribution}")


def distribution_of_key(name: str) -> str | None:
    """Return the distribution that adds the configuration key `name`, if it is a known one's."""
    return KEYS.get(name.replace(".", "_").partition("_")[0])


def distribution_of_class(name: str) -> str | None:
    """Return the distribution that holds the class `name`, if it is a known one."""
    for members in KNOWN.values():
        for cls, distribution in members.values():
            if cls == name:
                return distribution
    return None
