"""The replies that have a number: RFC 2812 section 5, read as https://modern.ircdocs.horse/#numerics does."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Numeric", "Refused"]


class Numeric(NamedTuple):
    """A reply's number, and its last parameter where that is always the same."""

    code: str
    text: str = ""


class Refused(Exception):
    """A request that is not granted, in the words of the reply that says so."""

    def __init__(self, numeric: Numeric, *params: str) -> None:
        super().__init__(numeric, *params)
        self.numeric = numeric
        self.params = params


RPL_WELCOME = Numeric("001")
RPL_YOURHOST = Numeric("002")
RPL_CREATED = Numeric("003")
RPL_MYINFO = Numeric("004")
RPL_ISUPPORT = Numeric("005", "are supported by this server")
RPL_UMODEIS = Numeric("221")
RPL_LUSERCLIENT = Numeric("251")
RPL_LUSEROP = Numeric("252", "operator(s) online")
RPL_LUSERUNKNOWN = Numeric("253", "unknown connection(s)")
RPL_LUSERCHANNELS = Numeric("254", "channels formed")
RPL_LUSERME = Numeric("255")
RPL_USERHOST = Numeric("302")
RPL_ISON = Numeric("303")
RPL_WHOISUSER = Numeric("311")
RPL_WHOISSERVER = Numeric("312")
RPL_ENDOFWHO = Numeric("315", "End of WHO list")
RPL_WHOISIDLE = Numeric("317", "seconds idle, signon time")
RPL_ENDOFWHOIS = Numeric("318", "End of WHOIS list")
RPL_WHOISCHANNELS = Numeric("319")
RPL_LISTSTART = Numeric("321", "Users  Name")
RPL_LIST = Numeric("322")
RPL_LISTEND = Numeric("323", "End of LIST")
RPL_CHANNELMODEIS = Numeric("324")
RPL_NOTOPIC = Numeric("331", "No topic is set")
RPL_TOPIC = Numeric("332")
RPL_TOPICWHOTIME = Numeric("333")
RPL_VERSION = Numeric("351")
RPL_WHOREPLY = Numeric("352")
RPL_NAMREPLY = Numeric("353")
RPL_ENDOFNAMES = Numeric("366", "End of NAMES list")
RPL_ENDOFBANLIST = Numeric("368", "End of channel ban list")
RPL_MOTD = Numeric("372")
RPL_MOTDSTART = Numeric("375")
RPL_ENDOFMOTD = Numeric("376", "End of MOTD command")

ERR_UNKNOWNERROR = Numeric("400")
ERR_NOSUCHNICK = Numeric("401", "No such nick")
ERR_NOSUCHCHANNEL = Numeric("403", "No such channel")
ERR_TOOMANYCHANNELS = Numeric("405", "You have joined too many channels")
ERR_TOOMANYTARGETS = Numeric("407", "Too many recipients")
ERR_NOORIGIN = Numeric("409", "No origin specified")
ERR_INVALIDCAPCMD = Numeric("410", "Invalid CAP command")
ERR_NORECIPIENT = Numeric("411")
ERR_NOTEXTTOSEND = Numeric("412", "No text to send")
ERR_TOOMANYMATCHES = Numeric("416", "Output too long, ask for less")
ERR_INPUTTOOLONG = Numeric("417", "Input line was too long")
ERR_UNKNOWNCOMMAND = Numeric("421", "Unknown command")
ERR_NOMOTD = Numeric("422", "MOTD file is missing")
ERR_NONICKNAMEGIVEN = Numeric("431", "No nickname given")
ERR_ERRONEUSNICKNAME = Numeric("432", "Erroneous nickname")
ERR_NICKNAMEINUSE = Numeric("433", "Nickname is already in use")
ERR_NOTONCHANNEL = Numeric("442", "You're not on that channel")
ERR_NOTREGISTERED = Numeric("451", "You have not registered")
ERR_NEEDMOREPARAMS = Numeric("461", "Not enough parameters")
ERR_ALREADYREGISTERED = Numeric("462", "You may not register again")
ERR_UNKNOWNMODE = Numeric("472", "is unknown mode char to me")
ERR_BADCHANMASK = Numeric("476", "Bad channel name")
ERR_CHANOPRIVSNEEDED = Numeric("482", "You're not channel operator")
ERR_UMODEUNKNOWNFLAG = Numeric("501", "Unknown MODE flag")
ERR_USERSDONTMATCH = Numeric("502", "Cannot change mode for other users")
