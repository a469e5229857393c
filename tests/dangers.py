"""Looks through the text of a Python file for what could run foreign code."""

import ast

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "runpy",
    "code",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
METHODS = {"extract", "extractall", "unpack_archive", "unsafe_load", "enable_unsafe_deserialization"}
FUNCTIONS = {
    "yaml.load",
    "yaml.full_load",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
}
# What a keyword must be, if it is given: anything else, a variable too, is refused.
KEYWORDS = {
    "allow_pickle": False,
    "safe_mode": True,
    "weights_only": True,
    "shell": False,
    "extract": False,
    "untar": False,
}
# What must be given, as the default is another or may become one.
OBLIGATORY = {"numpy.load": "allow_pickle", "torch.load": "weights_only"}


def dangers(text):
    """What a Python text does that could run foreign code: list of "line: what"."""
    tree, found, full_names = ast.parse(text), [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
            for alias in node.names:
                first = alias.name.partition(".")[0]
                full_names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            full_names.update(
                {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            )
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] in MODULES or parts[-1] in METHODS or module in FUNCTIONS:
                found.append(f"{node.lineno}: import of {module}")

    def full_name(node):
        if isinstance(node, ast.Name):
            return full_names.get(node.id, node.id)
        return f"{full_name(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""

    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, keywords = full_name(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in BUILTINS or name in {f"builtins.{builtin}" for builtin in BUILTINS}:
            found.append(f"{node.lineno}: {name}()")
        if name in FUNCTIONS or method in METHODS:
            found.append(f"{node.lineno}: {name or method}()")
        for keyword, value in keywords.items():
            if keyword in KEYWORDS and not _is(value, KEYWORDS[keyword]):
                found.append(f"{node.lineno}: {name or method}({keyword}=...)")
        if name in OBLIGATORY and OBLIGATORY[name] not in keywords:
            found.append(f"{node.lineno}: {name}() without {OBLIGATORY[name]}")
    return found


def _is(node, wanted):
    return isinstance(node, ast.Constant) and node.value is wanted
