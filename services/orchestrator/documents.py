"""Rule files: one YAML document, or a list of them, strictly read."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from shared.errors import Invalid

LARGEST = 4 * 1024 * 1024


def read_documents(file: Path) -> list[object]:
    """The rule documents of a file.

    Raises:
        Invalid: there is no such file, or it is no YAML, or a name stands twice in one mapping.
    """
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "no file"
        raise Invalid(f"rules: {file} is {kind}; name a YAML file of rules", field="rules")
    if file.stat().st_size > LARGEST:
        raise Invalid(f"rules: {file} is over 4 MiB; split it", field="rules")
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=_Strict)  # noqa: S506 - safe
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise Invalid(f"rules: {file} is not YAML: {text}; correct it", field="rules") from error
    if isinstance(found, list):
        return list(found)
    if isinstance(found, dict):
        return [found]
    raise Invalid(f"rules: {file} holds no rule; write one document or a list", field="rules")


class _Strict(yaml.SafeLoader):
    """YAML without the trap that of two equal names the later silently wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {name!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep=deep)
