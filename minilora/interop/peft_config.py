"""adapter_config.json: which modules a PEFT adapter changes, and by how much, after PEFT's own rules.

The fields are those of peft 0.21 (LoraConfig). Whatever changes the computation and is not supported here is refused by
name; so is an unknown field, unless it is off.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from minilora.limits import shown
from minilora.methods.lora.apply import with_parents
from minilora.methods.lora.config import fits, is_number, is_rank
from minilora.patterns import Matcher

# Fields about an adapter's origin or its start, or details of other fields: none of them changes the output.
NO_MATTER = (
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "inference_mode",
    "runtime_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "loftq_config",
    "megatron_core",
    "qalora_group_size",
)
OFF: tuple[Any, ...] = (None, False, {}, [], "")
# Those that leave W unchanged. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA subtract from W what they start with.
INITS = (True, False, "gaussian", "orthogonal", "eva", "mica")
BIASES = ("none", "all", "lora_only")


@dataclass(frozen=True)
class PeftConfig:
    """The fields of adapter_config.json that are used, with PEFT's defaults. See `peft_config_of`.

    Names in `target_modules`, `exclude_modules` and `modules_to_save` are whole names of modules, or their ends; a
    string instead of a list is a regular expression for whole names. The keys of the two patterns are regular
    expressions for ends of names.
    """

    path: Path
    peft_type: str | None = None
    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    modules_to_save: list[str] | None = None
    task_type: str | None = None
    bias: str = "none"
    fan_in_fan_out: bool | None = None
    init_lora_weights: bool | str = True

    @property
    def all_linear(self) -> bool:
        """Whether all linear layers are adapted."""
        return isinstance(self.target_modules, str) and self.target_modules.lower() == "all-linear"

    def targets(self, modules: Iterable[str]) -> list[str]:
        """The modules that are adapted: without those that modules_to_save names, and everything in them."""
        return [module for module in modules if self._is_target(module)]

    def _is_target(self, module: str) -> bool:
        if self.exclude_modules and self._names(self.exclude_modules, module):
            return False
        if any(fits(name, part) for name in self.modules_to_save or [] for part in with_parents(module)):
            return False
        if self.all_linear:
            # callers pass only linear modules; PEFT leaves out a decoder's head, and a classifier's last one
            return module != "lm_head" and not (self.task_type == "SEQ_CLS" and module in ("classifier", "score"))
        if not self._names(self.target_modules, module):
            return False
        whole_name = isinstance(self.target_modules, str) or module in (self.target_modules or ())
        return whole_name or self.layers_to_transform in (None, []) or self._is_in_layers(module)

    def _names(self, names: Any, module: str) -> bool:
        if isinstance(names, str):
            return self.matcher.fullmatch(names, module)
        return any(fits(name, module) for name in names)

    def _is_in_layers(self, module: str) -> bool:
        """Whether the first number in a name (after one of layers_pattern, if given) is one of the layers."""
        parts, patterns = module.split("."), [pattern for pattern in as_list(self.layers_pattern) if pattern]
        for i, part in enumerate(parts[:-1]):
            blocks = ".".join(parts[:i])
            if part.isdecimal() and (i > 1 if not patterns else self._ends(patterns, blocks)):
                return int(part) in as_list(self.layers_to_transform)
        return False

    def _ends(self, patterns: Any, name: str) -> bool:
        return any(self.matcher.match_end(pattern, name) for pattern in patterns)

    def refusal(self, field: str, says: str) -> ValueError:
        """An error about a field of the file."""
        return ValueError(f"{self.path}: {field} {says}")

    def rank_and_alpha(self, module: str) -> tuple[int, float]:
        """r and alpha of one module: from the first pattern that matches, or the defaults."""
        return (
            self._first_match(self.rank_pattern, module, self.r),
            self._first_match(self.alpha_pattern, module, self.lora_alpha),
        )

    def _first_match(self, pattern: dict[str, Any], module: str, default: Any) -> Any:
        for key, value in pattern.items():
            if self.matcher.match_end(key, module):
                return value
        return default

    @cached_property
    def matcher(self) -> Matcher:
        """The matcher of the file's regular expressions, with a limit on steps, because the file is not trusted."""
        return Matcher(str(self.path))


def peft_type_of(content: dict[str, Any]) -> str:
    """Which kind of adapter it is, in PEFT's word; "LORA" if the file does not say, as `peft_config_of` then will."""
    kind = content.get("peft_type")
    return kind if isinstance(kind, str) else "LORA"


def peft_config_of(content: dict[str, Any], path: Path) -> PeftConfig:
    """A checked PeftConfig.

    Parameters
    ----------
    content : dict
        What is in the file, or another method's fields in LoRA's words.
    path : Path
        The file, for messages.

    Raises
    ------
    ValueError
        If a field has a value that is not supported; the message names the file and the field.
    """
    used = {f.name for f in fields(PeftConfig)} - {"path"}
    for name, value in content.items():
        if name not in used and name not in NO_MATTER and value not in OFF:
            raise ValueError(f"{path}: {name} was {shown(value)}; minilora does not compute this")
    config = PeftConfig(path, **{name: value for name, value in content.items() if name in used})
    for name, allowed, says in _rules(config):
        if not allowed:
            raise ValueError(f"{path}: {name} was {shown(getattr(config, name))}; {says}")
    for pattern in as_list(config.layers_pattern):
        config.matcher.check(pattern)
    for pattern in (config.target_modules, config.exclude_modules, *config.rank_pattern, *config.alpha_pattern):
        if isinstance(pattern, str):
            config.matcher.check(pattern)
    return config


def _rules(c: PeftConfig) -> Iterator[tuple[str, bool, str]]:
    """(field, whether its value is allowed, what it must be) for each field, cheapest first."""
    names = "it must be a list of names"
    yield "peft_type", c.peft_type == "LORA", "it must be 'LORA'"
    yield "r", is_rank(c.r), "it must be an integer of at least 1"
    yield "lora_alpha", is_number(c.lora_alpha), "it must be a finite number"
    dropout = c.lora_dropout
    yield "lora_dropout", is_number(dropout) and 0.0 <= dropout < 1.0, "it must be 0 <= lora_dropout < 1"
    yield "use_rslora", isinstance(c.use_rslora, bool), "it must be true or false"
    yield "use_dora", isinstance(c.use_dora, bool), "it must be true or false"
    yield "bias", c.bias in BIASES, f"it must be one of {', '.join(map(repr, BIASES))}"
    yield "init_lora_weights", c.init_lora_weights in INITS, "it changes W itself, which minilora does not"
    yield "fan_in_fan_out", c.fan_in_fan_out in (None, True, False), "it must be true or false"  # PEFT sets it right
    regex = f"{names}, or a regular expression"
    yield "target_modules", isinstance(c.target_modules, str) or _are(str, c.target_modules), regex
    excluded = c.exclude_modules
    yield "exclude_modules", excluded is None or isinstance(excluded, str) or _are(str, excluded), regex
    yield "modules_to_save", c.modules_to_save is None or _are(str, c.modules_to_save), names
    yield "layers_to_transform", _are(int, as_list(c.layers_to_transform)), "it must be a list of numbers"
    yield "layers_pattern", _are(str, as_list(c.layers_pattern)), names
    ambiguous = isinstance(c.target_modules, str) and c.layers_to_transform is not None
    yield "layers_to_transform", not ambiguous, "target_modules is a regular expression, and says which layers"
    ranks, alphas = c.rank_pattern, c.alpha_pattern
    right = isinstance(ranks, dict) and all(map(is_rank, ranks.values()))
    yield "rank_pattern", right, "each rank must be an integer of at least 1"
    right = isinstance(alphas, dict) and all(map(is_number, alphas.values()))
    yield "alpha_pattern", right, "each alpha must be a finite number"


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def as_list(value: Any) -> list[Any]:
    """The value as a list: itself if it is one, empty for None."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
