"""Every variable that one of our programs reads: in one pod there may be several of them, with one environment."""

from functools import cache

from openscale_byok.shell.environment import PREFIX


@cache
def variables() -> frozenset[str]:
    """Their names. The commands read none that operator, gateway or agent do not."""
    from openscale_byok.shell.cli.agent import agent
    from openscale_byok.shell.gateway.settings import GatewaySettings
    from openscale_byok.shell.settings import OperatorSettings

    prefix = f"{agent.context_settings['auto_envvar_prefix']}_"
    of_agent = {str(one.envvar or prefix + str(one.name).upper()) for one in agent.params}
    settings = {*OperatorSettings.model_fields, *GatewaySettings.model_fields}
    return frozenset({PREFIX + name.upper() for name in settings} | of_agent)
