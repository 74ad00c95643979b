"""The contract that import-linter lacks: it can forbid packages by name, not all but the standard library."""

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibrary(Contract):
    """A package that imports itself and the standard library, and besides these only what is excepted."""

    # import-linter puts the option's value where the class has its field.
    package = cast("str", fields.StringField())
    exceptions = cast("set[str]", fields.SetField(subfield=fields.StringField()))

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Lists the imports that are neither the package's own, nor the standard library's, nor excepted."""
        del verbose
        broken = sorted(
            line
            for module in {self.package} | graph.find_descendants(self.package)
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.partition(".")[0] not in sys.stdlib_module_names | {self.package}
            if (line := f"{module} -> {imported}") not in self.exceptions
        )
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Shows those imports."""
        for line in check.metadata["broken"]:
            output.print_error(line)
